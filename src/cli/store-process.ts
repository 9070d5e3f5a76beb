/** Where a cluster's handler store lies and which process it is: what `registry`, `kill` and `status` share. */

import { join } from "node:path";
import { tryFindClaimOwner } from "../cluster/claim.ts";
import type { ClusterPaths } from "../cluster/paths.ts";
import { readPidFile, removePidFile } from "../cluster/pid-file.ts";
import type { ProcessIdentity } from "../cluster/process-identity.ts";
import { STORE_DATA_DIR } from "../registry/store/settings.ts";

/**
 * @param paths of a cluster
 * @returns directory of the store's data
 */
export function storeDir(paths: ClusterPaths): string {
  return join(paths.registry, STORE_DATA_DIR);
}

/**
 * @param dir of the store's data
 * @returns what the running store holds, see `cluster/claim.ts`
 */
export function storeClaim(dir: string): string {
  return join(dir, "claim");
}

/**
 * @param paths of a cluster
 * @returns the process that holds the data, or that of the pid file where it has not come so far; both
 *   where they are two
 */
export function findStoreProcesses(paths: ClusterPaths): ProcessIdentity[] {
  const owner = tryFindClaimOwner(storeClaim(storeDir(paths)));
  const state = readPidFile(paths.store.pid);
  const named = state.kind === "running" ? state.process : null;
  const found = [owner, named].filter((process) => process !== null);
  return found.filter(({ pid }, index) => found.findIndex((other) => other.pid === pid) === index);
}

/** @param path of a pid file that goes, unless it names a process that was started meanwhile */
export function removeStalePidFile(path: string): void {
  if (readPidFile(path).kind !== "running") removePidFile(path);
}
