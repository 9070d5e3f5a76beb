/**
 * `ol workers --restart`: replaces workers that run, one after the other, without losing a call. The
 * successor starts in the worker's other directory, so that neither touches what the other uses, and
 * shares the port; once it answers, the older one hears of it (SIGUSR2), serves out its connections
 * and ends.
 */

import { findWorkerProcesses, listWorkers } from "../cluster/open.ts";
import type { ClusterPaths, WorkerPaths } from "../cluster/paths.ts";
import { writePidFile } from "../cluster/pid-file.ts";
import { type ProcessIdentity, signalProcess, waitUntilGone } from "../cluster/process-identity.ts";
import { OlError } from "../common/errors.ts";
import { RETIRE_EXTRA_MS } from "../common/limits.ts";
import type { Config } from "../config/config.ts";
import { checkConfigPaths, readConfigJson } from "../config/load.ts";
import { mergeConfig, parseConfig, validateConfigFile } from "../config/parse.ts";
import type { ConfigFile } from "../config/schema.ts";
import { print, printJson } from "./output.ts";
import { shownUrl } from "./worker-client.ts";
import {
  reclaimWorkerDir,
  type StartingWorker,
  startWorker,
  stopProcess,
  stopTimeoutMs,
  waitUntilReady,
  writeWorkerConfig,
} from "./worker-process.ts";

/** A worker that runs, with what it was started with. */
interface RunningWorker {
  readonly worker: WorkerPaths;
  readonly file: ConfigFile;
  readonly config: Config;
  /** The newest first; more than one where an earlier restart was interrupted. */
  readonly processes: readonly [ProcessIdentity, ...ProcessIdentity[]];
}

function findRunning(paths: ClusterPaths): RunningWorker[] {
  return listWorkers(paths).flatMap((worker) => {
    const [newest, ...others] = findWorkerProcesses(worker);
    if (newest === undefined) return [];
    const file = validateConfigFile(readConfigJson(worker.config), worker.config);
    const config = parseConfig(file, worker.config);
    return [{ worker, file, config, processes: [newest, ...others] as const }];
  });
}

/** Lets a worker end that has a successor; it is ended where it takes longer than it may. */
async function retire(identity: ProcessIdentity, config: Config): Promise<void> {
  const boundMs = stopTimeoutMs(config.limits.runtimeMs);
  if (!signalProcess(identity, "SIGUSR2")) return;
  if (await waitUntilGone(identity, boundMs + RETIRE_EXTRA_MS)) return;
  await stopProcess(identity, boundMs);
}

/** Settings of the successor: the template's of today, the place of the one that runs. */
function planSuccessor(
  paths: ClusterPaths,
  { worker, file, config }: RunningWorker,
): { file: ConfigFile; config: Config } {
  const template = validateConfigFile(readConfigJson(paths.template), paths.template);
  const merged = mergeConfig(template, {
    ...(file.worker_port === undefined ? {} : { worker_port: file.worker_port }),
    ...(file.mem_pool_mb === undefined || template.mem_pool_mb !== undefined
      ? {}
      : { mem_pool_mb: file.mem_pool_mb }),
    worker_dir: config.workerDir === worker.spareDir ? worker.dir : worker.spareDir,
  });
  const next = validateConfigFile(merged, paths.template);
  const parsed = parseConfig(next, paths.template);
  checkConfigPaths(parsed, paths.template);
  return { file: next, config: parsed };
}

async function startSuccessor(
  running: RunningWorker,
  next: { file: ConfigFile; config: Config },
): Promise<StartingWorker> {
  const { worker, file, processes } = running;
  let started: StartingWorker | null = null;
  try {
    writeWorkerConfig(worker, next.file);
    started = startWorker(worker, next.config, true);
    await waitUntilReady(started);
    return started;
  } catch (error) {
    // The one that runs goes on as if nothing had been tried.
    if (started !== null) {
      await stopProcess(started.process.identity, stopTimeoutMs(next.config.limits.runtimeMs));
    }
    writeWorkerConfig(worker, file);
    writePidFile(worker.pid, processes[0]);
    throw error;
  }
}

async function replace(paths: ClusterPaths, running: RunningWorker): Promise<StartingWorker> {
  const { config, processes } = running;
  const [newest, ...older] = processes;
  const next = planSuccessor(paths, running);
  for (const identity of older) await retire(identity, config);
  const started = await startSuccessor(running, next);
  await retire(newest, config);
  await reclaimWorkerDir(config, config.workerDir);
  return started;
}

/**
 * Replaces every worker of a cluster that runs.
 * @param paths of the cluster
 * @param json whether the result is printed as JSON
 * @throws {OlError} worker_start where none runs, or where a successor does not start; then the worker
 *   that it was to replace, and those after it, go on
 */
export async function restartWorkers(paths: ClusterPaths, json: boolean): Promise<void> {
  const running = findRunning(paths);
  if (running.length === 0) {
    throw new OlError(
      "worker_start",
      `Cannot restart the workers of ${paths.root}: none runs, start some with "ol workers"`,
      { op: "cli.restart" },
    );
  }
  const replaced: object[] = [];
  for (const worker of running) {
    const { process, config, worker: its } = await replace(paths, worker);
    const url = shownUrl({ bind: config.bind, port: config.workerPort });
    const oldPid = worker.processes[0].pid;
    const { pid } = process.identity;
    replaced.push({ worker: its.name, url, pid, oldPid, log: its.log });
    if (!json) print(`Restarted ${its.name} at ${url} (process ${pid}, was ${oldPid})\n`);
  }
  if (json) printJson({ workers: replaced });
}
