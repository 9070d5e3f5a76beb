/** `ol kill`: stops everything of a cluster and removes what it had on the host. */

import { existsSync } from "node:fs";
import { defineCommand } from "citty";
import { findWorkerProcesses, listWorkers } from "../cluster/open.ts";
import type { ClusterPaths, WorkerPaths } from "../cluster/paths.ts";
import { readPidFile } from "../cluster/pid-file.ts";
import type { ProcessIdentity } from "../cluster/process-identity.ts";
import { OlError, toOlError } from "../common/errors.ts";
import { DESTROY_TIMEOUT_MS } from "../common/limits.ts";
import type { Config } from "../config/config.ts";
import { readConfigJson } from "../config/load.ts";
import { parseConfig } from "../config/parse.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { type Notes, openNotes, print, printJson } from "./output.ts";
import { findStoreProcesses, removeStalePidFile } from "./store-process.ts";
import {
  reclaimWorkerDir,
  type StopOutcome,
  stopProcess,
  stopTimeoutMs,
} from "./worker-process.ts";

/** What became of one background process. */
interface Stopped {
  readonly name: string;
  readonly pid: number;
  readonly outcome: StopOutcome;
}

function tryReadConfig(worker: WorkerPaths, notes: Notes): Config | null {
  if (!existsSync(worker.config)) return null;
  try {
    return parseConfig(readConfigJson(worker.config), worker.config);
  } catch (error) {
    notes.warn(`${toOlError(error).message}; leftovers of ${worker.name} are not looked for`);
    return null;
  }
}

function warnOfPidFile(path: string, notes: Notes): void {
  const state = readPidFile(path);
  if (state.kind === "garbage") {
    notes.warn(`the pid file ${path} ${state.why}, nothing was signalled because of it`);
  }
  if (state.kind === "stale") {
    notes.note(`The pid file ${path} is stale, process ${state.pid} is not ours or gone`);
  }
}

/** What was done and what could not be; one failure keeps no other step from being taken. */
class KillReport {
  readonly stopped: Stopped[] = [];
  readonly failures: unknown[] = [];

  async attempt<T>(step: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await step();
    } catch (error) {
      this.failures.push(error);
      return otherwise;
    }
  }

  /** Stops processes, all at once. */
  async stopAll(name: string, found: readonly ProcessIdentity[], drainMs: number): Promise<void> {
    const stopOne = async (identity: ProcessIdentity): Promise<void> => {
      const outcome = await stopProcess(identity, drainMs);
      this.stopped.push({ name, pid: identity.pid, outcome });
    };
    await Promise.all(found.map((identity) => this.attempt(() => stopOne(identity), undefined)));
  }

  throwFailures(): void {
    const [first, ...others] = this.failures.map((failure) => toOlError(failure));
    if (first === undefined) return;
    if (others.length === 0) throw first;
    const message = [first, ...others].map((error) => error.message).join("; ");
    throw new OlError(first.code, message, { op: "cli.kill", cause: first });
  }
}

async function stopWorker(worker: WorkerPaths, notes: Notes, report: KillReport): Promise<void> {
  const config = tryReadConfig(worker, notes);
  const found = findWorkerProcesses(worker);
  if (found.length === 0) warnOfPidFile(worker.pid, notes);
  await report.stopAll(worker.name, found, stopTimeoutMs(config?.limits.runtimeMs ?? null));
  const dirs = config === null ? [] : [config.workerDir, worker.dir, worker.spareDir];
  for (const dir of new Set(dirs)) {
    if (config === null || (dir !== config.workerDir && !existsSync(dir))) continue;
    await report.attempt(() => reclaimWorkerDir(config, dir), undefined);
  }
  removeStalePidFile(worker.pid);
}

async function stopStore(paths: ClusterPaths, notes: Notes, report: KillReport): Promise<void> {
  const found = findStoreProcesses(paths);
  if (found.length === 0) warnOfPidFile(paths.store.pid, notes);
  await report.stopAll("registry", found, DESTROY_TIMEOUT_MS);
  removeStalePidFile(paths.store.pid);
}

/** @returns names of the containers that no worker's own clean-up had removed */
async function removeContainers(paths: ClusterPaths): Promise<string[]> {
  const { findDockerCluster } = await import("./docker-cluster.ts");
  const cluster = findDockerCluster(paths);
  if (cluster === null || !cluster.isUsed) return [];
  const { removeClusterContainers } = await import("../worker/docker-cluster.ts");
  const removed = await removeClusterContainers(cluster.socket, cluster.name);
  return removed.map((container) => container.name);
}

function place(workers: readonly string[], { name }: Stopped): number {
  const at = workers.indexOf(name);
  return at < 0 ? workers.length : at;
}

const WORDS: Readonly<Record<StopOutcome, string>> = {
  stopped: "Stopped",
  killed: "Killed, as it did not stop,",
  gone: "Found gone",
};

export default defineCommand({
  meta: {
    description:
      "Stops the workers, sandboxes, containers and the registry of a cluster, waits until they are\n" +
      "gone and removes what they had on the host. Safe to repeat, and after a crash.",
  },
  args: { cluster: CLUSTER_ARG, json: JSON_ARG },
  async run({ args }): Promise<void> {
    const notes = await openNotes();
    const paths = await openClusterOf(args.cluster);
    const report = new KillReport();
    const stopOne = (worker: WorkerPaths) => () => stopWorker(worker, notes, report);
    // Draining workers still read the registry, so that goes last.
    const listed = listWorkers(paths);
    await Promise.all(listed.map((worker) => report.attempt(stopOne(worker), undefined)));
    const containers = await report.attempt(() => removeContainers(paths), []);
    await report.attempt(() => stopStore(paths, notes, report), undefined);
    const { failures } = report;
    // In the order of workers, not in that in which they happened to end; the registry is last already.
    const workers = listed.map(({ name }) => name);
    const stopped = report.stopped.toSorted((a, b) => place(workers, a) - place(workers, b));
    if (args.json) printJson({ stopped, containers });
    else if (stopped.length + containers.length + failures.length === 0) {
      print("Nothing was running\n");
    }
    for (const { name, pid, outcome } of args.json ? [] : stopped) {
      print(`${WORDS[outcome]} ${name} (process ${pid})\n`);
    }
    for (const name of args.json ? [] : containers) print(`Removed container ${name}\n`);
    report.throwFailures();
  },
});
