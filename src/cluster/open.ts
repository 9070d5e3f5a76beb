/** Opening a cluster directory that exists, and finding what runs in it. */

import { readdirSync, statSync } from "node:fs";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { tryFindClaimOwner } from "./claim.ts";
import { CLUSTER_DIRS, type ClusterPaths, clusterPaths, type WorkerPaths } from "./paths.ts";
import { readPidFile } from "./pid-file.ts";
import type { ProcessIdentity } from "./process-identity.ts";

/**
 * @param dir what the user named
 * @returns its paths, after a look whether it is a cluster
 * @throws {OlError} cluster_missing, cluster_invalid
 */
export function openCluster(dir: string): ClusterPaths {
  if (dir === "" || dir.includes("\0")) {
    throw new OlError(
      "cluster_invalid",
      `Cannot open cluster ${JSON.stringify(dir)}: no such name`,
    );
  }
  const paths = clusterPaths(dir);
  const fail = (code: "cluster_missing" | "cluster_invalid", what: string): OlError =>
    new OlError(code, `Cannot open cluster ${paths.root}: ${what}`, { op: "cluster.open" });
  let stat: ReturnType<typeof statSync>;
  try {
    stat = statSync(paths.root);
  } catch (error) {
    const name = errnoNameOf(error) ?? String(error);
    if (name === "ENOENT" || name === "ENOTDIR") {
      throw fail("cluster_missing", `it does not exist, make it with "ol new --cluster=${dir}"`);
    }
    throw fail("cluster_invalid", `it cannot be read (${name})`);
  }
  if (!stat.isDirectory()) throw fail("cluster_invalid", "it is not a directory");
  for (const name of CLUSTER_DIRS) {
    const inner = statSync(`${paths.root}/${name}`, { throwIfNoEntry: false });
    if (inner?.isDirectory() !== true) {
      throw fail("cluster_invalid", `it is not a cluster, there is no directory ${name}/ in it`);
    }
  }
  if (statSync(paths.template, { throwIfNoEntry: false })?.isFile() !== true) {
    throw fail("cluster_invalid", "it is not a cluster, there is no config/template.json in it");
  }
  return paths;
}

/**
 * @param paths of a cluster
 * @returns every worker that has a configuration, a pid file or a directory, by number
 */
export function listWorkers(paths: ClusterPaths): WorkerPaths[] {
  const indices = new Set<number>();
  for (const dir of [paths.configDir, paths.logs, paths.workers]) {
    for (const name of readdirSync(dir)) {
      const index = /^worker-(\d{1,9})(\.json|\.pid|\.start|(\.b)?(\.owner)?)$/.exec(name)?.[1];
      if (index !== undefined && String(Number(index)) === index) indices.add(Number(index));
    }
  }
  return [...indices].toSorted((a, b) => a - b).map((index) => paths.worker(index));
}

/**
 * Who runs as this worker: the holders of its directories, or the process of its pid file where that has
 * not come so far yet. All are checked by start time. There are two while one takes the other's place.
 * @param worker paths of a worker
 * @returns the processes, the newest first
 */
export function findWorkerProcesses(worker: WorkerPaths): ProcessIdentity[] {
  const state = readPidFile(worker.pid);
  const named = state.kind === "running" ? state.process : null;
  const owners = [worker.dir, worker.spareDir]
    .map((dir) => tryFindClaimOwner(dir))
    .filter((owner) => owner !== null);
  if (owners.length === 0) return named === null ? [] : [named];
  return owners.toSorted((a, b) => Number(b.pid === named?.pid) - Number(a.pid === named?.pid));
}

/**
 * @param worker paths of a worker
 * @returns the newest of its processes, or null where it does not run
 */
export function tryFindWorkerProcess(worker: WorkerPaths): ProcessIdentity | null {
  return findWorkerProcesses(worker)[0] ?? null;
}
