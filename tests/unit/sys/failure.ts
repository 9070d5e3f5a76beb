/** The error of a system call that a test expects to fail. */

import { SyscallError } from "../../../src/common/errors.ts";

/**
 * @param run what is to fail
 * @returns the error with which it did
 * @throws {Error} where it did not fail, or not as a system call does
 */
export function failureOf(run: () => unknown): SyscallError {
  try {
    run();
  } catch (error) {
    if (error instanceof SyscallError) return error;
    throw error;
  }
  throw new Error("It succeeded, a system call was to fail");
}
