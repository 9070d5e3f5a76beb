/** Advisory locks that the kernel gives up with the process that holds them. */

import { SyscallError } from "../common/errors.ts";
import { check, openLibc } from "./libc.ts";

const libc = openLibc({ flock: { args: ["i32", "i32"], returns: "i32" } });

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * @param fd an open file
 * @returns whether it is locked by this process now; false where another one holds the lock
 * @throws {SyscallError} any other errno of flock(2)
 */
export function tryLock(fd: number): boolean {
  try {
    check(
      "flock",
      () => `${fd}, LOCK_EX | LOCK_NB`,
      () => libc.flock(fd, LOCK_EX | LOCK_NB),
    );
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.errnoName === "EAGAIN") return false;
    throw error;
  }
}
