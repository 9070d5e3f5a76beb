/** Calls with which init turns itself into the first guest. */

import { ptr } from "bun:ffi";
import { check, openLibc, pathArgument } from "./libc.ts";

const libc = openLibc({
  unshare: { args: ["i32"], returns: "i32" },
  execve: { args: ["cstring", "ptr", "ptr"], returns: "i32" },
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  memfd_create: { args: ["cstring", "u32"], returns: "i32" },
  setrlimit: { args: ["i32", "ptr"], returns: "i32" },
  dup2: { args: ["i32", "i32"], returns: "i32" },
});

/**
 * @param flags `CLONE_*` namespaces that the calling thread leaves
 * @throws {SyscallError} any errno of unshare(2)
 */
export function unshare(flags: number): void {
  check(
    "unshare",
    () => `0x${flags.toString(16)}`,
    () => libc.unshare(flags),
  );
}

/**
 * @param option `PR_*`
 * @param argument its first argument
 * @throws {SyscallError} any errno of prctl(2)
 */
export function prctl(option: number, argument: number): void {
  check(
    "prctl",
    () => `${option}, ${argument}`,
    () => libc.prctl(option, argument, 0, 0, 0),
  );
}

/**
 * @param name shown in /proc, for people
 * @returns an anonymous file that stays open over execve, owned by the caller
 * @throws {SyscallError} any errno of memfd_create(2)
 */
export function createMemoryFile(name: string): number {
  return check(
    "memfd_create",
    () => name,
    () => libc.memfd_create(name, 0),
  );
}

/**
 * @param fd an open descriptor
 * @param number the number under which a program run by `execve` finds it
 * @throws {SyscallError} EBADF, EMFILE
 */
export function duplicateTo(fd: number, number: number): void {
  check(
    "dup2",
    () => `${fd}, ${number}`,
    () => libc.dup2(fd, number),
  );
}

/**
 * Sets the soft and the hard limit of this process.
 * @param resource `RLIMIT_*`
 * @param value in the resource's unit
 * @throws {SyscallError} EPERM above the hard limit without CAP_SYS_RESOURCE
 */
export function setResourceLimit(resource: number, value: number): void {
  // struct rlimit { u64 soft, hard }, on its own ArrayBuffer: it does not move during the call.
  const limit = new BigUint64Array(new ArrayBuffer(16)).fill(BigInt(value));
  check(
    "setrlimit",
    () => `${resource}, ${value}`,
    () => libc.setrlimit(resource, limit),
  );
}

// A C string array needs addresses inside another buffer: the strings stay in `keep` until the call.
function stringArray(values: readonly string[], keep: Uint8Array[]): BigUint64Array {
  const pointers = new BigUint64Array(new ArrayBuffer((values.length + 1) * 8));
  values.forEach((value, index) => {
    const text = Buffer.from(`${pathArgument(value)}\0`);
    const owned = new Uint8Array(new ArrayBuffer(text.length));
    owned.set(text);
    keep.push(owned);
    pointers[index] = BigInt(ptr(owned));
  });
  return pointers;
}

/**
 * Becomes another program; returns only by throwing.
 * @param path its file
 * @param argv its arguments, the first is its name
 * @param env its whole environment as `NAME=value`
 * @throws {SyscallError} any errno of execve(2)
 */
export function execve(path: string, argv: readonly string[], env: readonly string[]): never {
  const keep: Uint8Array[] = [];
  const argvPointers = stringArray(argv, keep);
  const envPointers = stringArray(env, keep);
  check(
    "execve",
    () => path,
    () => libc.execve(pathArgument(path), argvPointers, envPointers),
  );
  throw new Error(`execve returned with ${keep.length} strings kept`);
}
