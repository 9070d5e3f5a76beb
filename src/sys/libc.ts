/**
 * The one place that opens libc. Every other file of `sys/` declares its calls through `openLibc`.
 *
 * Rules that each was seen broken without (Bun 1.4.5): pass typed arrays as `ptr` arguments and
 * never keep `ptr(temporary)`; read errno in the same function as the call, with nothing between
 * them; never call libc `fork` from Bun.
 */

import { dlopen, type FFIFunction, read, type Pointer } from "bun:ffi";
import { SyscallError } from "../common/errors.ts";
import { SYSCALL_RETRIES_MAX } from "../common/limits.ts";
import { errnoName } from "./errno.ts";

const CANDIDATES = [
  "libc.so.6",
  `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`,
] as const;

/**
 * @param symbols libc functions with their types
 * @returns them as functions
 * @throws {Error} where no known libc can be opened
 */
export function openLibc<const T extends Record<string, FFIFunction>>(symbols: T) {
  let failure: unknown;
  for (const name of CANDIDATES) {
    try {
      return dlopen(name, symbols).symbols;
    } catch (error) {
      failure = error;
    }
  }
  throw new Error("Cannot open the C library", { cause: failure });
}

const base = openLibc({ __errno_location: { args: [], returns: "ptr" } });

/** @returns the calling thread's errno; call it directly after the failed call */
function errno(): number {
  // oxlint-disable-next-line no-underscore-dangle -- the C library's name
  return read.i32(base.__errno_location() as Pointer, 0);
}

const EINTR = 4;

/**
 * Asked before each system call that goes through `check`: an errno makes it fail with that instead
 * of being made, null lets it happen.
 */
export type FaultPlan = (call: string) => number | null;

let faultPlan: FaultPlan | null = null;

/**
 * Makes system calls of this process fail; only tests of what happens then have a use for it.
 * @param plan decides about each call; null ends it
 */
export function setFaultPlan(plan: FaultPlan | null): void {
  faultPlan = plan;
}

/**
 * Runs one system call, again while it is interrupted.
 * @param name of the call, for the error
 * @param args what it is called with, as text for the error; built only on failure
 * @param run the call: negative means that errno says why
 * @returns its non-negative result
 * @throws {SyscallError} with the errno
 */
export function check(name: string, args: () => string, run: () => number | bigint): number {
  for (let tries = 1; ; tries += 1) {
    const planned = faultPlan === null ? null : faultPlan(name);
    const result = planned === null ? Number(run()) : -1;
    if (result >= 0) return result;
    const code = planned ?? errno();
    if (code === EINTR && tries < SYSCALL_RETRIES_MAX) continue;
    throw new SyscallError(name, code, errnoName(code), args());
  }
}

/**
 * @param path a path for the kernel
 * @returns it unchanged
 * @throws {SyscallError} EINVAL where it holds a NUL, at which C would silently cut it
 */
export function pathArgument(path: string): string {
  if (path.includes("\0")) throw new SyscallError("path", 22, "EINVAL", "a path with a NUL byte");
  return path;
}
