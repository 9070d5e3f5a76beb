/** Starting and stopping workers as processes: what `workers` and `kill` share. */

import { closeSync, fstatSync, openSync, readSync, rmSync, statSync } from "node:fs";
import { writeFileAtomic } from "../cluster/atomic-file.ts";
import { claimWorkerDir, type WorkerClaim } from "../cluster/claim.ts";
import type { WorkerPaths } from "../cluster/paths.ts";
import { removePidFileOf, writePidFile } from "../cluster/pid-file.ts";
import { type ProcessIdentity, signalProcess, waitUntilGone } from "../cluster/process-identity.ts";
import { type BackgroundProcess, spawnBackground } from "../cluster/spawn.ts";
import { errnoNameOf, OlError } from "../common/errors.ts";
import {
  DESTROY_TIMEOUT_MS,
  DRAIN_EXTRA_MS,
  LOG_TAIL_MAX_BYTES,
  LOG_TAIL_MAX_LINES,
  WORKER_READY_TIMEOUT_MS,
  WORKER_STOP_TIMEOUT_MS,
} from "../common/limits.ts";
import type { Config } from "../config/config.ts";
import type { ConfigFile } from "../config/schema.ts";
import { fetchStats, pingWorker, shownUrl } from "./worker-client.ts";

/** How often a starting worker is asked, in milliseconds: a start takes some 100 ms. */
const READY_POLL_INTERVAL_MS = 5;

/** How often a claim that another command holds is tried again, in milliseconds. */
const CLAIM_POLL_INTERVAL_MS = 20;

/** A worker that was started and is not yet known to be ready. */
export interface StartingWorker {
  readonly worker: WorkerPaths;
  readonly config: Config;
  readonly process: BackgroundProcess;
  /** Size of the log before the start, in bytes. */
  readonly logStartBytes: number;
  /** When it was started, in milliseconds of `performance.now()`. */
  readonly startedMs: number;
  /** Whether another worker answers on its port until it does. */
  readonly isSuccessor: boolean;
}

/**
 * @param worker its paths
 * @param file its settings
 * @throws {OlError} cluster_invalid
 */
export function writeWorkerConfig(worker: WorkerPaths, file: ConfigFile): void {
  try {
    writeFileAtomic(worker.config, `${JSON.stringify(file, null, 2)}\n`);
  } catch (error) {
    throw new OlError(
      "cluster_invalid",
      `Cannot write ${worker.config}: ${errnoNameOf(error) ?? String(error)}`,
      { op: "cli.workers", cause: error },
    );
  }
}

/**
 * Starts a worker in the background and records its process.
 * @param worker its paths; its configuration file is written already
 * @param config the same configuration
 * @param isSuccessor whether it takes the place of a worker that lives
 * @throws {OlError} worker_start
 */
export function startWorker(
  worker: WorkerPaths,
  config: Config,
  isSuccessor = false,
): StartingWorker {
  const logStartBytes = statSync(worker.log, { throwIfNoEntry: false })?.size ?? 0;
  const startedMs = performance.now();
  const args = ["worker-exec", `--config=${worker.config}`, `--log-file=${worker.log}`];
  const started = spawnBackground({
    argv0: "ol",
    args: isSuccessor ? [...args, "--successor"] : args,
    logFile: worker.log,
  });
  writePidFile(worker.pid, started.identity);
  return { worker, config, process: started, logStartBytes, startedMs, isSuccessor };
}

/** A start runs pip twice: to find out which packages there are to be, and to install them. */
const STARTUP_PIP_RUNS = 2;

/**
 * @param config settings of a worker
 * @returns how long it may take to answer, in milliseconds: it installs `startup_pkgs` first
 */
export function readyTimeoutMs(
  config: Pick<Config, "startupPackages" | "installerLimits">,
): number {
  if (config.startupPackages.length === 0) return WORKER_READY_TIMEOUT_MS;
  return WORKER_READY_TIMEOUT_MS + STARTUP_PIP_RUNS * config.installerLimits.runtimeMs;
}

/**
 * @param starting a started worker
 * @throws {OlError} worker_start with the tail of its log, where it ends or does not answer in time
 */
export async function waitUntilReady(starting: StartingWorker): Promise<void> {
  const address = { bind: starting.config.bind, port: starting.config.workerPort };
  const timeoutMs = readyTimeoutMs(starting.config);
  const deadlineMs = performance.now() + timeoutMs;
  let exitCode: number | undefined;
  const watchExit = async (): Promise<void> => {
    exitCode = await starting.process.exited;
  };
  void watchExit();
  let last = "it was not asked";
  while (performance.now() < deadlineMs) {
    if (exitCode !== undefined) {
      throw startFailure(starting, `it ended with exit status ${exitCode}`);
    }
    const ping = await pingWorker(address);
    const isReady = ping.answered && ping.status === 200 && (await isOwnAnswer(starting));
    if (isReady && exitCode === undefined) return;
    last = ping.answered ? `/status answered ${ping.status} ${ping.text}` : ping.reason;
    await Bun.sleep(READY_POLL_INTERVAL_MS);
  }
  throw startFailure(starting, `not ready within ${timeoutMs / 1000} s (${last})`);
}

/** Whether it is this worker that answers on its port, and not the one whose place it takes. */
async function isOwnAnswer({ config, startedMs, isSuccessor }: StartingWorker): Promise<boolean> {
  if (!isSuccessor) return true;
  const stats = await fetchStats({ bind: config.bind, port: config.workerPort });
  // The older one has been up for longer than the time since the start of this one.
  return stats !== null && stats.uptimeMs < performance.now() - startedMs;
}

function startFailure(starting: StartingWorker, why: string): OlError {
  const { worker, config, logStartBytes } = starting;
  const url = shownUrl({ bind: config.bind, port: config.workerPort });
  const tail = readLogTail(worker.log, logStartBytes);
  const log = tail === "" ? `its log ${worker.log} is empty` : `its log ${worker.log} ends with`;
  const message = `Cannot start ${worker.name} at ${url}: ${why}, ${log}`;
  return new OlError("worker_start", tail === "" ? message : `${message}\n${tail}`, {
    op: "cli.workers",
    details: { worker: worker.name, log: worker.log, why },
  });
}

/**
 * @param path of a log
 * @param fromBytes where the part of interest begins, in bytes
 * @returns its last lines, bounded, indented; empty where there are none
 */
export function readLogTail(path: string, fromBytes: number): string {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch {
    return "";
  }
  try {
    const { size } = fstatSync(descriptor);
    // A log that is smaller than it was has been moved away since.
    const start = Math.max(fromBytes <= size ? fromBytes : 0, size - LOG_TAIL_MAX_BYTES);
    const buffer = Buffer.alloc(Math.max(0, Math.min(size - start, LOG_TAIL_MAX_BYTES)));
    const length = readSync(descriptor, buffer, 0, buffer.length, start);
    const lines = buffer.toString("utf8", 0, length).trimEnd().split("\n");
    const tail = lines.slice(-LOG_TAIL_MAX_LINES).filter((line) => line !== "");
    return tail.map((line) => `  ${line}`).join("\n");
  } finally {
    closeSync(descriptor);
  }
}

/**
 * @param runtimeMs how long a call may run, in milliseconds; null where the settings cannot be read
 * @returns how long a worker may take to drain before it is killed, in milliseconds
 */
export function stopTimeoutMs(runtimeMs: number | null): number {
  if (runtimeMs === null) return WORKER_STOP_TIMEOUT_MS;
  return Math.max(WORKER_STOP_TIMEOUT_MS, runtimeMs + DRAIN_EXTRA_MS + DESTROY_TIMEOUT_MS);
}

/** How a process came to its end. */
export type StopOutcome = "stopped" | "killed" | "gone";

/**
 * Ends a process: SIGTERM, time to drain, SIGKILL.
 * @param identity exactly that process
 * @param drainMs how long it may take after SIGTERM, in milliseconds
 * @returns how it ended; `gone` where it was not there any more
 * @throws {OlError} worker_start where even SIGKILL does not end it (it hangs in the kernel)
 */
export async function stopProcess(
  identity: ProcessIdentity,
  drainMs: number,
): Promise<StopOutcome> {
  if (!signalProcess(identity, "SIGTERM")) return "gone";
  if (await waitUntilGone(identity, drainMs)) return "stopped";
  signalProcess(identity, "SIGKILL");
  if (await waitUntilGone(identity, DESTROY_TIMEOUT_MS)) return "killed";
  throw new OlError(
    "internal",
    `Cannot stop process ${identity.pid}: it is there ${DESTROY_TIMEOUT_MS} ms after SIGKILL`,
    { op: "cli.stop" },
  );
}

/**
 * Undoes a start: ends the process, removes its pid file and its configuration; its log stays.
 * @param starting a started worker
 */
export async function stopStarted(starting: StartingWorker): Promise<void> {
  await stopProcess(starting.process.identity, stopTimeoutMs(starting.config.limits.runtimeMs));
  const { worker, process } = starting;
  if (removePidFileOf(worker.pid, process.identity)) rmSync(worker.config, { force: true });
}

/** Another command may be at it already: that one's claim is short. */
async function claimSoon(workerDir: string): Promise<WorkerClaim> {
  const deadlineMs = performance.now() + DESTROY_TIMEOUT_MS;
  for (;;) {
    try {
      return claimWorkerDir(workerDir);
    } catch (error) {
      if (performance.now() >= deadlineMs) throw error;
      await Bun.sleep(CLAIM_POLL_INTERVAL_MS);
    }
  }
}

/**
 * Removes what a worker that is gone left behind.
 * @param config its settings
 * @param workerDir the directory that it used
 * @throws {OlError} worker_start where another process has the directory
 */
export async function reclaimWorkerDir(config: Config, workerDir: string): Promise<void> {
  // Nobody may start a worker here while its leftovers are taken away.
  const claim = await claimSoon(workerDir);
  try {
    const { reclaimWorker } = await import("../worker/reclaim.ts");
    await reclaimWorker({ ...config, workerDir });
  } finally {
    claim.release();
  }
}
