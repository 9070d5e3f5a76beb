/** Whether the kernel lets its users have io_uring, with which zygotes pin memory (`guest/hot_pages.py`). */

import { SYS_io_uring_setup } from "./constants.ts";
import { check, openLibc } from "./libc.ts";

const libc = openLibc({ syscall: { args: ["i64", "u32", "ptr"], returns: "i64" } });

const PARAMETERS_BYTES = 120;

/**
 * Makes a ring of one entry.
 * @returns its descriptor, close-on-exec, owned by the caller
 * @throws {SyscallError} ENOSYS without io_uring, EPERM where a setting or a filter forbids it
 */
export function makeRing(): number {
  const parameters = new Uint8Array(new ArrayBuffer(PARAMETERS_BYTES));
  return check(
    "io_uring_setup",
    () => "1",
    () => libc.syscall(SYS_io_uring_setup, 1, parameters),
  );
}
