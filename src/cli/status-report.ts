/** What `ol status` finds out: each worker's answer and figures, and the cluster's containers. */

import { existsSync } from "node:fs";
import { STATUS_CODES } from "node:http";
import type { ClusterPaths } from "../cluster/paths.ts";
import { toOlError } from "../common/errors.ts";
import type { WorkerStats } from "../lambda/contract.ts";
import { findDockerCluster } from "./docker-cluster.ts";
import { type KnownWorker, listKnownWorkers } from "./running-workers.ts";
import { pingRegistry, type RegistryReport } from "./registry-ping.ts";
import { fetchStats, pingWorker, shownUrl } from "./worker-client.ts";

/** One worker. */
export interface WorkerReport {
  readonly worker: string;
  /** Of its `/status`, as people write it. */
  readonly url: string;
  /** Null where its process is gone. */
  readonly pid: number | null;
  readonly ok: boolean;
  readonly answer: string;
  /** Its `/stats`; null where it did not answer. */
  readonly stats: WorkerStats | null;
}

/** What is known of the cluster's containers. */
export interface ContainerReport {
  readonly containers: readonly {
    readonly id: string;
    readonly name: string;
    readonly role: string;
    readonly lambda: string;
    readonly status: string;
  }[];
  /** Why there is no list; null where there is one. */
  readonly reason: string | null;
  /** False where the cluster uses Docker and Docker does not answer. */
  readonly ok: boolean;
}

/** Everything, at one moment. */
export interface StatusReport {
  readonly workers: readonly WorkerReport[];
  readonly docker: ContainerReport;
  /** The cluster's own handler store; null where none was started. */
  readonly registry: RegistryReport | null;
  /** Whether all that should answer did. */
  readonly ok: boolean;
}

async function reportWorker({ worker, address, pid }: KnownWorker): Promise<WorkerReport> {
  const base = { worker: worker.name, url: `${shownUrl(address)}/status`, pid };
  const ping = await pingWorker(address);
  if (!ping.answered) {
    const gone =
      pid === null ? `, its process is gone, see ${worker.log}` : `, process ${pid} runs`;
    return { ...base, ok: false, answer: `${ping.reason}${gone}`, stats: null };
  }
  const phrase = `${ping.status} ${STATUS_CODES[ping.status] ?? ""}`.trim();
  const answer = `${ping.text} [${phrase}]`;
  // A foreign program on the port of a worker that is gone must not pass for it.
  if (pid === null) {
    return { ...base, ok: false, answer: `${answer}, from another program`, stats: null };
  }
  return { ...base, ok: ping.status === 200, answer, stats: await fetchStats(address) };
}

async function reportContainers(paths: ClusterPaths): Promise<ContainerReport> {
  const cluster = findDockerCluster(paths);
  if (cluster === null) {
    return { containers: [], reason: `${paths.template} cannot be read`, ok: false };
  }
  // Without Docker there is nothing to list; its client is not worth loading to learn that.
  if (!existsSync(cluster.socket)) {
    const reason = `no Docker daemon at ${cluster.socket}`;
    return { containers: [], reason, ok: !cluster.isUsed };
  }
  try {
    const { listClusterContainers } = await import("../worker/docker-cluster.ts");
    const containers = await listClusterContainers(cluster.socket, cluster.name);
    return { containers, reason: null, ok: true };
  } catch (error) {
    return { containers: [], reason: toOlError(error).message, ok: !cluster.isUsed };
  }
}

/**
 * @param paths of a cluster
 * @returns how it is now
 * @throws {OlError} config_invalid
 */
export async function reportStatus(paths: ClusterPaths): Promise<StatusReport> {
  const [workers, docker, registry] = await Promise.all([
    Promise.all(listKnownWorkers(paths).map(reportWorker)),
    reportContainers(paths),
    pingRegistry(paths),
  ]);
  const ok = workers.every((worker) => worker.ok) && docker.ok && registry?.ok !== false;
  return { workers, docker, registry, ok };
}
