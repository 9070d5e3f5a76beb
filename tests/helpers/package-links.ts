/** A directory of packages made for a test, which the installers of workers that it starts take them from. */

import { chmodSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "./paths.ts";
import { tempDir } from "./temp-dir.ts";

const FIXTURES = join(PROJECT_DIR, "tests/fixtures/packages");

/** Such a directory. */
export interface PackageLinks {
  readonly path: string;
  /** Adds a distribution: its one module, or its set-up script. */
  pack(script: "wheel.py" | "sdist.py", name: string, source: string, version?: string): void;
  /** Puts the settings back and removes it. */
  remove(): void;
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

/** @returns an empty one, in pip's settings of this process, which workers hand to their installers */
export function packageLinks(): PackageLinks {
  const before = { links: process.env["PIP_FIND_LINKS"], index: process.env["PIP_NO_INDEX"] };
  const dir = tempDir("ol-links-");
  chmodSync(dir.path, 0o755); // The installer is nobody in particular.
  process.env["PIP_FIND_LINKS"] = dir.path;
  process.env["PIP_NO_INDEX"] = "1";
  return {
    path: dir.path,
    pack: (script, name, source, version) => {
      const args = [dir.path, name, ...(version === undefined ? [] : [version])];
      const packed = Bun.spawnSync(["/usr/bin/python3", join(FIXTURES, script), ...args], {
        stdin: Buffer.from(source),
      });
      if (!packed.success) throw new Error(packed.stderr.toString());
    },
    remove: () => {
      restore("PIP_FIND_LINKS", before.links);
      restore("PIP_NO_INDEX", before.index);
      dir.remove();
    },
  };
}
