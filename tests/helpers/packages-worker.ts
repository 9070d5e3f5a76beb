/** A worker for packages of the real index. What was installed stays in `CACHE_DIR`: only the first run downloads. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CACHE_DIR } from "./paths.ts";
import { startWorker, type TestWorker } from "./worker.ts";

/**
 * @param settings beside `Pkgs_dir` and a limit of memory that holds real packages
 * @returns the worker, ready; the caller stops it
 */
export async function startPackagesWorker(
  settings: Readonly<Record<string, unknown>>,
): Promise<TestWorker> {
  const packagesDir = join(CACHE_DIR, "packages-e2e");
  mkdirSync(packagesDir, { recursive: true, mode: 0o700 });
  return await startWorker({ Pkgs_dir: packagesDir, limits: { mem_mb: 512 }, ...settings });
}
