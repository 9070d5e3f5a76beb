/** `ol kill`: stops everything of a cluster and removes what it had on the host. */

import { existsSync } from "node:fs";
import { defineCommand } from "citty";
import { findWorkerProcesses, listWorkers } from "../cluster/open.ts";
import type { ClusterPaths, WorkerPaths } from "../cluster/paths.ts";
import { readPidFile, removePidFile } from "../cluster/pid-file.ts";
import { OlError, toOlError } from "../common/errors.ts";
import { DESTROY_TIMEOUT_MS } from "../common/limits.ts";
import type { Config } from "../config/config.ts";
import { readConfigJson } from "../config/load.ts";
import { parseConfig } from "../config/parse.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { type Notes, openNotes, print, printJson } from "./output.ts";
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

async function stopWorker(worker: WorkerPaths, notes: Notes): Promise<Stopped[]> {
  const config = tryReadConfig(worker, notes);
  const found = findWorkerProcesses(worker);
  if (found.length === 0) warnOfPidFile(worker.pid, notes);
  const drainMs = stopTimeoutMs(config?.limits.runtimeMs ?? null);
  const stopped = await settleAll(
    found.map(async (identity) => {
      const outcome = await stopProcess(identity, drainMs);
      return { name: worker.name, pid: identity.pid, outcome };
    }),
  );
  if (config !== null) {
    for (const dir of new Set([config.workerDir, worker.dir, worker.spareDir])) {
      if (dir === config.workerDir || existsSync(dir)) await reclaimWorkerDir(config, dir);
    }
  }
  removePidFile(worker.pid);
  return stopped;
}

async function stopStore(paths: ClusterPaths, notes: Notes): Promise<Stopped | null> {
  const state = readPidFile(paths.store.pid);
  if (state.kind !== "running") {
    warnOfPidFile(paths.store.pid, notes);
    removePidFile(paths.store.pid);
    return null;
  }
  const outcome = await stopProcess(state.process, DESTROY_TIMEOUT_MS);
  removePidFile(paths.store.pid);
  return { name: "registry", pid: state.process.pid, outcome };
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

/** Runs all, then throws what the first failure was, with the others counted. */
async function settleAll<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(tasks);
  const failures = settled.filter((result) => result.status === "rejected");
  const first = failures[0];
  if (first === undefined) {
    return settled.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  }
  const error = toOlError(first.reason);
  if (failures.length === 1) throw error;
  throw new OlError(error.code, `${error.message}; and ${failures.length - 1} more failed`, {
    op: "cli.kill",
    cause: first.reason,
  });
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
    // Draining workers still read the registry, so that goes last.
    const workers = await settleAll(listWorkers(paths).map((worker) => stopWorker(worker, notes)));
    const containers = await removeContainers(paths);
    const results = [...workers.flat(), await stopStore(paths, notes)];
    const stopped = results.filter((result) => result !== null);
    if (args.json) printJson({ stopped, containers });
    else if (stopped.length + containers.length === 0) print("Nothing was running\n");
    for (const { name, pid, outcome } of args.json ? [] : stopped) {
      print(`${WORDS[outcome]} ${name} (process ${pid})\n`);
    }
    for (const name of args.json ? [] : containers) print(`Removed container ${name}\n`);
  },
});
