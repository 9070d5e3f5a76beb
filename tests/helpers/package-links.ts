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

/**
 * Changes pip's settings of this process, which workers hand to their installers.
 * @param settings environment variables
 * @returns puts them back
 */
export function pipSettings(settings: Readonly<Record<string, string>>): () => void {
  const before = Object.keys(settings).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, settings);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

/** @returns an empty one, in pip's settings of this process, which workers hand to their installers */
export function packageLinks(): PackageLinks {
  const dir = tempDir("ol-links-");
  chmodSync(dir.path, 0o755); // The installer is nobody in particular.
  const restore = pipSettings({ PIP_FIND_LINKS: dir.path, PIP_NO_INDEX: "1" });
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
      restore();
      dir.remove();
    },
  };
}
