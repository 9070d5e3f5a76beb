/** Socket pairs and the passing of descriptors; Bun has neither. */

import { ptr } from "bun:ffi";
import { assert } from "../common/assert.ts";
import { check, openLibc } from "./libc.ts";
import {
  AF_UNIX,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SCM_RIGHTS,
  SOCK_CLOEXEC,
  SOL_SOCKET,
} from "./constants.ts";

const libc = openLibc({
  socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  sendmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
});

const pair = new Int32Array(new ArrayBuffer(8));

/**
 * @param type `SOCK_STREAM` or `SOCK_SEQPACKET`
 * @returns two connected descriptors, close-on-exec, owned by the caller
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function socketPair(type: number): [number, number] {
  check(
    "socketpair",
    () => `${type}`,
    () => libc.socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair),
  );
  return [pair[0] as number, pair[1] as number];
}

/** Descriptors that one message can carry here. */
const MESSAGE_FDS_MAX = 12;

const CMSG_HEADER_BYTES = 16;
// struct msghdr (64-bit): name ptr 0, namelen u32 8, iov ptr 16, iovlen u64 24, control ptr 32,
// controllen u64 40, flags i32 48; 56 bytes. All buffers sit on ArrayBuffers of their own, whose
// storage never moves, so that the addresses written once stay true.
const header = new DataView(new ArrayBuffer(56));
const vector = new DataView(new ArrayBuffer(16));
const control = new DataView(new ArrayBuffer(CMSG_HEADER_BYTES + MESSAGE_FDS_MAX * 4));
const headerBytes = new Uint8Array(header.buffer);
const vectorAddress = BigInt(ptr(new Uint8Array(vector.buffer)));
const controlAddress = BigInt(ptr(new Uint8Array(control.buffer)));
header.setBigUint64(16, vectorAddress, true);
header.setBigUint64(24, 1n, true);
control.setInt32(8, SOL_SOCKET, true);
control.setInt32(12, SCM_RIGHTS, true);

/**
 * Sends bytes with descriptors, without blocking.
 * @param fd a unix socket
 * @param payload at least one byte
 * @param fds descriptors to pass; the caller keeps its own copies
 * @returns bytes taken: all of them on a SEQPACKET socket, perhaps fewer on a stream
 * @throws {SyscallError} EAGAIN where the socket is full, EPIPE where the peer is gone
 */
export function sendWithFds(fd: number, payload: Uint8Array, fds: readonly number[]): number {
  assert(payload.byteLength > 0, "a message with descriptors needs a byte");
  assert(fds.length <= MESSAGE_FDS_MAX, "too many descriptors for one message");
  const controlBytes = CMSG_HEADER_BYTES + fds.length * 4;
  control.setBigUint64(0, BigInt(controlBytes), true);
  fds.forEach((value, index) => {
    control.setInt32(CMSG_HEADER_BYTES + index * 4, value, true);
  });
  header.setBigUint64(32, fds.length === 0 ? 0n : controlAddress, true);
  header.setBigUint64(40, fds.length === 0 ? 0n : BigInt((controlBytes + 7) & ~7), true);
  // SAFETY: `ptr(payload)` is taken here and used before anything can run the collector or the JIT.
  vector.setBigUint64(8, BigInt(payload.byteLength), true);
  vector.setBigUint64(0, BigInt(ptr(payload)), true);
  return check(
    "sendmsg",
    () => `${payload.byteLength} bytes, ${fds.length} descriptors`,
    () => libc.sendmsg(fd, headerBytes, MSG_NOSIGNAL | MSG_DONTWAIT),
  );
}
