/** Which of several sockets that listen on one port gets the next connection. */

import { ptr } from "bun:ffi";
import { SOL_SOCKET } from "./constants.ts";
import { check, openLibc } from "./libc.ts";

const libc = openLibc({
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
});

const SO_ATTACH_REUSEPORT_CBPF = 51;

/** Classic BPF: BPF_RET | BPF_K. */
const RETURN_CONSTANT = 0x06;

/**
 * Gives every new connection to the second of two sockets that share a port: the kernel numbers
 * them in the order in which they began to listen. Where there is only one, the number is out of
 * range and the kernel falls back to it, so the choice needs no undoing.
 *
 * @param fd a listening socket with SO_REUSEPORT; the choice holds for all that share its port
 * @throws {SyscallError} EINVAL where the socket does not share its port
 * @see socket(7), SO_ATTACH_REUSEPORT_CBPF; Linux 4.5
 */
export function preferSecondListener(fd: number): void {
  // struct sock_filter: code u16 0, jt u8 2, jf u8 3, k u32 4.
  const program = new DataView(new ArrayBuffer(8));
  program.setUint16(0, RETURN_CONSTANT, true);
  program.setUint32(4, 1, true);
  const programBytes = new Uint8Array(program.buffer);
  // struct sock_fprog: len u16 0, filter ptr 8.
  const header = new DataView(new ArrayBuffer(16));
  header.setUint16(0, 1, true);
  header.setBigUint64(8, BigInt(ptr(programBytes)), true);
  const headerBytes = new Uint8Array(header.buffer);
  // SAFETY: both buffers have storage of their own, which does not move, and live until the return.
  check(
    "setsockopt",
    () => `${fd}, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, return 1`,
    () => libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, headerBytes, 16),
  );
}
