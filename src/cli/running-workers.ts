/** Which workers of a cluster should answer, and where; reads files only. */

import { existsSync } from "node:fs";
import { listWorkers, tryFindWorkerProcess } from "../cluster/open.ts";
import type { ClusterPaths, WorkerPaths } from "../cluster/paths.ts";
import { OlError } from "../common/errors.ts";
import { readConfigJson } from "../config/load.ts";
import type { WorkerAddress } from "./worker-client.ts";

/** A worker that was started and not stopped, whether it lives or not. */
export interface KnownWorker {
  readonly worker: WorkerPaths;
  readonly address: WorkerAddress;
  /** Null where its process is gone. */
  readonly pid: number | null;
}

/**
 * The file was validated when it was written and when the worker read it, so only the two keys that are
 * needed here are looked at: loading the schema would double the time of `ol invoke`.
 */
function readAddress(worker: WorkerPaths): WorkerAddress {
  const json = readConfigJson(worker.config) as { worker_port?: unknown; bind?: unknown } | null;
  const port = json?.worker_port;
  const bind = json?.bind ?? "127.0.0.1";
  if (typeof port !== "number" || typeof bind !== "string") {
    throw new OlError(
      "config_invalid",
      `Cannot use ${worker.config}: "worker_port" or "bind" is not what a worker's file has`,
      { op: "cli.workers" },
    );
  }
  return { bind, port };
}

/**
 * @param paths of a cluster
 * @returns workers that run, or that ended without being stopped, by number
 * @throws {OlError} config_invalid
 */
export function listKnownWorkers(paths: ClusterPaths): KnownWorker[] {
  const known: KnownWorker[] = [];
  for (const worker of listWorkers(paths)) {
    const found = tryFindWorkerProcess(worker);
    if (found === null && !existsSync(worker.pid)) continue;
    if (!existsSync(worker.config)) continue;
    known.push({ worker, address: readAddress(worker), pid: found?.pid ?? null });
  }
  return known;
}
