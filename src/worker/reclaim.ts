/** Cleaning up after workers that died without doing so themselves. */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { detectCgroups } from "../cgroup/host.ts";
import type { Config } from "../config/config.ts";
import { removeSocketDir } from "../sandbox/docker/socket-dir.ts";
import { listSlots, slotCgroupName, tryHoldSlot } from "./engine-slot.ts";

/**
 * Ends and removes what dead SOCK workers of this machine left: processes and cgroups. Workers that
 * live hold their slot and are left alone.
 * @returns what was removed, for the log
 * @throws {OlError} internal where something cannot be removed
 */
export async function reclaimDeadSlots(): Promise<string[]> {
  const removed: string[] = [];
  for (const index of listSlots()) {
    const slot = tryHoldSlot(index);
    if (slot === null) continue;
    const root = detectCgroups().openRoot(slotCgroupName(index));
    removed.push(...(await root.reclaim()));
    await root.remove();
    slot.release();
  }
  return removed;
}

/**
 * Removes the directories that a worker's start makes anew: pulled code and zygotes' scratch space.
 * What lambdas printed stays.
 * @param workerDir absolute `<cluster>/workers/worker-<N>`, claimed by the caller or of a dead worker
 */
export function removeScratch(workerDir: string): void {
  for (const name of ["code", "import-cache", "install"]) {
    rmSync(join(workerDir, name), { recursive: true, force: true });
  }
}

/**
 * Everything that is left of a worker whose process is gone.
 * @param config its settings
 * @throws {OlError} internal where something cannot be removed
 */
export async function reclaimWorker(config: Config): Promise<void> {
  if (config.sandbox === "sock") await reclaimDeadSlots();
  else removeSocketDir(config.workerDir);
  removeScratch(config.workerDir);
}
