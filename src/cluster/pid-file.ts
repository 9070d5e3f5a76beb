/**
 * Pid files of background processes. `<name>.pid` holds one number, as upstream's does, for people and
 * scripts. A number can be stale, forged or someone else's, so `<name>.start` beside it says which
 * process was meant; without a match of both, nothing is ever signalled.
 */

import { closeSync, constants, fstatSync, openSync, readSync, rmSync } from "node:fs";
import { errnoNameOf } from "../common/errors.ts";
import { PID_FILE_MAX_BYTES } from "../common/limits.ts";
import { writeFileAtomic } from "./atomic-file.ts";
import {
  formatIdentity,
  isPid,
  isProcessAlive,
  type ProcessIdentity,
  tryParseIdentity,
} from "./process-identity.ts";

/** What a pid file says. */
export type PidFileState =
  | { readonly kind: "absent" }
  /** Empty, huge, not a number, not a file; `why` completes "the pid file …". */
  | { readonly kind: "garbage"; readonly why: string }
  /** Its process is gone, or the number now belongs to a process that is not ours. */
  | { readonly kind: "stale"; readonly pid: number }
  | { readonly kind: "running"; readonly process: ProcessIdentity };

const startFileOf = (pidFile: string): string => pidFile.replace(/(\.pid)?$/, ".start");

/**
 * Reads a small file without waiting for it, following it, or taking more of it than it may hold.
 * @param path of the file
 * @param maxBytes largest size that makes sense
 * @returns its text; null where there is none; `{why}` where it is not what it should be
 */
function readSmallFile(path: string, maxBytes: number): string | null | { why: string } {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  let descriptor: number;
  try {
    descriptor = openSync(path, flags);
  } catch (error) {
    const name = errnoNameOf(error);
    if (name === "ENOENT") return null;
    return { why: `cannot be opened (${name ?? String(error)})` };
  }
  try {
    if (!fstatSync(descriptor).isFile()) return { why: "is not a file" };
    const buffer = Buffer.alloc(maxBytes + 1);
    const length = readSync(descriptor, buffer, 0, buffer.length, 0);
    if (length > maxBytes) return { why: `has more than ${maxBytes} bytes` };
    return buffer.toString("latin1", 0, length);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * @param path of a file with one identity in it
 * @returns the process, or null where the file is absent or is not one
 */
export function tryReadIdentity(path: string): ProcessIdentity | null {
  const text = readSmallFile(path, PID_FILE_MAX_BYTES);
  return typeof text === "string" ? tryParseIdentity(text) : null;
}

/**
 * @param path of a pid file
 * @returns what it says; never throws for what is in it
 */
export function readPidFile(path: string): PidFileState {
  const text = readSmallFile(path, PID_FILE_MAX_BYTES);
  if (text === null) return { kind: "absent" };
  if (typeof text !== "string") return { kind: "garbage", why: text.why };
  const pid = Number(/^(\d{1,10})\n?$/.exec(text)?.[1] ?? Number.NaN);
  if (!isPid(pid)) {
    return { kind: "garbage", why: text === "" ? "is empty" : "does not hold one process id" };
  }
  const identity = tryReadIdentity(startFileOf(path));
  return identity?.pid === pid && isProcessAlive(identity)
    ? { kind: "running", process: identity }
    : { kind: "stale", pid };
}

/**
 * @param path of the pid file
 * @param identity process that it is to name
 */
export function writePidFile(path: string, identity: ProcessIdentity): void {
  writeFileAtomic(startFileOf(path), formatIdentity(identity));
  writeFileAtomic(path, `${identity.pid}\n`);
}

/** @param path of a pid file; idempotent, whatever lies there except a directory that is not empty */
export function removePidFile(path: string): void {
  rmSync(path, { force: true });
  rmSync(startFileOf(path), { force: true });
}

/**
 * Removes a pid file where it names exactly this process: a later start may have written its own.
 * @param path of a pid file
 * @param identity of the process that it was written for
 * @returns whether it named that process
 */
export function removePidFileOf(path: string, identity: ProcessIdentity): boolean {
  const named = tryReadIdentity(startFileOf(path));
  if (named?.pid !== identity.pid || named.startTicks !== identity.startTicks) return false;
  removePidFile(path);
  return true;
}
