/**
 * Which process a number means. A pid alone is reused by the kernel within minutes on a busy machine, so a
 * process is named by pid, start time and boot; only that triple may be signalled.
 *
 * @see man 5 proc_pid_stat, field 22 (starttime)
 */

import { readFileSync } from "node:fs";
import { errnoNameOf } from "../common/errors.ts";
import { PID_MAX } from "../common/limits.ts";

/** One process, for as long as the machine runs and for ever after. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks between boot and its start. */
  readonly startTicks: string;
  readonly bootId: string;
}

/** Fields of `/proc/<pid>/stat` that matter here, counted after the closing bracket of the name. */
const STATE_FIELD = 0;
const START_TICKS_FIELD = 19;

let bootIdCache: string | undefined;

function bootId(): string {
  bootIdCache ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return bootIdCache;
}

/**
 * @param pid a process id
 * @returns who that is now, or null where no such process runs (a zombie does not run)
 */
export function tryIdentifyProcess(pid: number): ProcessIdentity | null {
  if (!isPid(pid)) return null;
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch (error) {
    const name = errnoNameOf(error);
    if (name === "ENOENT" || name === "ESRCH") return null;
    throw error;
  }
  // The name may itself hold spaces and brackets: what counts begins after the last bracket.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[STATE_FIELD];
  const startTicks = fields[START_TICKS_FIELD];
  if (startTicks === undefined || state === "Z" || state === "X") return null;
  return { pid, startTicks, bootId: bootId() };
}

/**
 * @param value candidate
 * @returns whether it can be the id of a process of ours: never 0 or negative (a process group) or 1
 */
export function isPid(value: number): boolean {
  return Number.isInteger(value) && value > 1 && value <= PID_MAX;
}

/**
 * @param identity a process
 * @returns whether exactly that process still runs
 */
export function isProcessAlive(identity: ProcessIdentity): boolean {
  const now = tryIdentifyProcess(identity.pid);
  return now?.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/**
 * Signals exactly that process. Between the look at its start time and the signal lie microseconds, in
 * which the kernel would have to end it and to go once round all pids.
 * @param identity a process
 * @param signal name of the signal
 * @returns false where it was gone already
 */
export function signalProcess(
  identity: ProcessIdentity,
  signal: "SIGTERM" | "SIGKILL" | "SIGUSR2",
): boolean {
  if (!isProcessAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if (errnoNameOf(error) === "ESRCH") return false;
    throw error;
  }
}

/** How often a process that is to end is looked at, in milliseconds: a look costs 20 us. */
const GONE_POLL_INTERVAL_MS = 10;

/**
 * @param identity a process
 * @param timeoutMs how long to wait, in milliseconds
 * @returns whether it is gone
 */
export async function waitUntilGone(
  identity: ProcessIdentity,
  timeoutMs: number,
): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (isProcessAlive(identity)) {
    if (performance.now() >= deadlineMs) return false;
    await Bun.sleep(GONE_POLL_INTERVAL_MS);
  }
  return true;
}

/**
 * @param identity a process
 * @returns it as one line of text, see `tryParseIdentity`
 */
export function formatIdentity(identity: ProcessIdentity): string {
  return `${identity.pid} ${identity.startTicks} ${identity.bootId}\n`;
}

/**
 * @param text what `formatIdentity` made, or anything else
 * @returns the process, or null where the text does not name one
 */
export function tryParseIdentity(text: string): ProcessIdentity | null {
  const match = /^(\d{1,10}) (\d{1,20}) ([0-9a-f-]{36})\n?$/.exec(text);
  const [, pid, startTicks, boot] = match ?? [];
  if (pid === undefined || startTicks === undefined || boot === undefined) return null;
  return isPid(Number(pid)) ? { pid: Number(pid), startTicks, bootId: boot } : null;
}
