/** Workers whose sandboxes come from one place: the root zygote, or a zygote of the import cache. */

import { chmodSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { type BaseChoice, startWorker, type TestWorker } from "../helpers/worker.ts";
import { scaled } from "../helpers/wait-for.ts";

/** Where the sandboxes of a suite are forked from, as `x-ol-start` says it. */
export type Origin = "fresh" | "zygote";

/** Both. */
export const ORIGINS: readonly Origin[] = ["fresh", "zygote"];

/** How long a worker may take to install and import the package first, in milliseconds. */
export const ORIGIN_START_TIMEOUT_MS = scaled(60_000);

const PACKAGE = "olplain";
const PACK = join(PROJECT_DIR, "tests/fixtures/packages/wheel.py");

/** Starts a worker with one small package installed and imported in a zygote. */
async function startWithPackage(
  settings: Readonly<Record<string, unknown>>,
  base: BaseChoice | null,
): Promise<{ worker: TestWorker; remove: () => void }> {
  const wheels = tempDir("ol-wheels-");
  chmodSync(wheels.path, 0o755); // The installer is nobody in particular.
  const packed = Bun.spawnSync(["/usr/bin/python3", PACK, wheels.path, PACKAGE], {
    stdin: Buffer.from("PLAIN = True\n"),
  });
  if (!packed.success) throw new Error(packed.stderr.toString());
  // The worker hands the host's pip settings to its installer.
  const before = { ...process.env };
  Object.assign(process.env, { PIP_FIND_LINKS: wheels.path, PIP_NO_INDEX: "1" });
  try {
    const worker = await startWorker({ startup_pkgs: [`${PACKAGE}==1.0`], ...settings }, base);
    return { worker, remove: () => wheels.remove() };
  } catch (error) {
    wheels.remove();
    throw error;
  } finally {
    for (const name of ["PIP_FIND_LINKS", "PIP_NO_INDEX"]) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}

/**
 * @param origin where every sandbox comes from
 * @param settings as for `startWorker`
 * @param base as for `startWorker`
 * @returns a worker whose lambdas are forked from there; a call that was not fails
 */
export async function startWorkerFrom(
  origin: Origin,
  settings: Readonly<Record<string, unknown>> = {},
  base: BaseChoice | null = null,
): Promise<TestWorker> {
  if (origin === "fresh") return await startWorker(settings, base);
  const { worker, remove } = await startWithPackage(settings, base);
  return {
    ...worker,
    lambda: (name, code, files = {}) => {
      worker.lambda(name, code, { "packages.txt": `${PACKAGE}==1.0\n`, ...files });
    },
    call: async (name, event, init) => {
      const answer = await worker.call(name, event, init);
      const start = answer.headers.get("x-ol-start");
      if (start === "fresh") throw new Error(`${name} was not forked from an import-cache zygote`);
      return answer;
    },
    stop: async () => {
      try {
        await worker.stop();
      } finally {
        remove();
      }
    },
  };
}
