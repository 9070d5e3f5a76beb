/** What the tests of the install cache share: an installer on the real index, and a Python to import with. */

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InstalledPackages } from "../../../src/packages/contract.ts";
import { PipInstaller, type PipInstallerOptions } from "../../../src/packages/pip-installer.ts";
import { HostRunner } from "./host-runner.ts";

const PYTHON = "/usr/bin/python3";

/** Whether this machine can run the tests at all. */
export const canInstall =
  process.getuid?.() === 0 &&
  existsSync(PYTHON) &&
  Bun.spawnSync([PYTHON, "-m", "pip", "--version"]).success;

/** A wheel to build. */
export interface Wheel {
  readonly name: string;
  readonly version: string;
  readonly files: Readonly<Record<string, string>>;
  readonly requires?: readonly string[];
}

const BUILD_WHEELS = `
import json, sys, zipfile
for wheel in json.loads(sys.argv[2]):
    stem = "%s-%s" % (wheel["name"].replace("-", "_"), wheel["version"])
    info = stem + ".dist-info/"
    requires = "".join("Requires-Dist: %s\\n" % one for one in wheel.get("requires", []))
    files = dict(wheel["files"])
    files[info + "METADATA"] = "Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n%s" % (
        wheel["name"], wheel["version"], requires)
    files[info + "WHEEL"] = "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[info + "RECORD"] = "".join("%s,,\\n" % name for name in files) + info + "RECORD,,\\n"
    with zipfile.ZipFile("%s/%s-py3-none-any.whl" % (sys.argv[1], stem), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
`;

/** A packages dir with an installer, and code directories. */
export class Workbench {
  readonly root = mkdtempSync(join(tmpdir(), "packages-"));
  readonly packagesDir: string;
  readonly runner = new HostRunner();

  /** @param packagesDir default: a fresh one */
  constructor(packagesDir?: string) {
    this.packagesDir = packagesDir ?? join(this.root, "packages");
    mkdirSync(this.packagesDir, { recursive: true });
  }

  open(more: Partial<PipInstallerOptions> = {}): Promise<PipInstaller> {
    return PipInstaller.open({
      packagesDir: this.packagesDir,
      runner: this.runner,
      limits: {
        memoryMaxBytes: 1 << 30,
        processesMax: 64,
        cpuPercent: 100,
        runtimeMs: 300_000,
        scratchMaxBytes: 2 << 30,
      },
      mirror: null,
      python: PYTHON,
      env: process.env,
      ...more,
    });
  }

  /** @returns a code directory with these files */
  code(files: Readonly<Record<string, string>>): string {
    const dir = mkdtempSync(join(this.root, "code-"));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
    return dir;
  }

  /**
   * Runs a program as a lambda would see its packages: no site-packages of the machine.
   * @returns what it printed
   */
  async python(installed: InstalledPackages, program: string): Promise<string> {
    const paths = installed.dirs.map(({ dir }) => join(this.packagesDir, dir));
    const scratch = mkdtempSync(join(this.root, "scratch-"));
    const child = Bun.spawn(
      [PYTHON, "-I", "-S", "-c", `import sys\nsys.path += ${JSON.stringify(paths)}\n${program}`],
      {
        cwd: scratch,
        env: { HOME: scratch, MPLCONFIGDIR: scratch, OPENBLAS_NUM_THREADS: "1", LANG: "C.UTF-8" },
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    const [out, err] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    if ((await child.exited) !== 0) throw new Error(err);
    return out.trim();
  }

  /** @returns environment of a worker whose only index is a directory of wheels */
  offline(
    wheels: readonly Wheel[],
    more: Readonly<Record<string, string>> = {},
  ): NodeJS.ProcessEnv {
    const dir = mkdtempSync(join(this.root, "links-"));
    this.build(wheels, dir);
    return { PIP_CONFIG_FILE: "/dev/null", PIP_NO_INDEX: "1", PIP_FIND_LINKS: dir, ...more };
  }

  /** Adds wheels to a directory, over those of the same name. */
  build(wheels: readonly Wheel[], dir: string): void {
    const built = Bun.spawnSync([PYTHON, "-I", "-c", BUILD_WHEELS, dir, JSON.stringify(wheels)]);
    if (!built.success) throw new Error(built.stderr.toString());
  }

  close(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
