/**
 * Socket pairs and descriptors in messages. Who receives is Python, which shares no code with the
 * sender: a structure that is packed wrongly would look right to whoever packed it.
 */

import { afterEach, describe, expect, test } from "bun:test";
import { closeSync, fstatSync, openSync, readFileSync, readSync, writeSync } from "node:fs";

import { SOCK_SEQPACKET, SOCK_STREAM } from "../../../src/sys/constants.ts";
import { setFaultPlan } from "../../../src/sys/libc.ts";
import { createMemoryFile } from "../../../src/sys/process.ts";
import { sendWithFds, socketPair } from "../../../src/sys/socket.ts";
import { requires } from "../../helpers/requires.ts";
import { isClosedOnExec, python, PYTHON } from "./child.ts";
import { collectBeforeCalls } from "./collect.ts";
import { failureOf } from "./failure.ts";

/** Takes one message from descriptor 3, tells what was in it and in the files that came along. */
const RECEIVE = `
import json, os, socket
peer = socket.socket(fileno=3)
data, fds, flags, _ = socket.recv_fds(peer, 1 << 20, 64)
print(json.dumps({
    "type": int(peer.type),
    "text": data.decode(),
    "truncated": flags & socket.MSG_CTRUNC != 0,
    "files": [os.pread(fd, 1000, 0).decode() for fd in fds],
    "inodes": [os.fstat(fd).st_ino for fd in fds],
}))`;

const TYPES = [
  ["SOCK_STREAM", SOCK_STREAM],
  ["SOCK_SEQPACKET", SOCK_SEQPACKET],
] as const;

const MESSAGE_FDS_MAX = 12;

const withPython = requires({ programs: [PYTHON] });

const opened = new Set<number>();

/** Has a descriptor closed after the test. */
function keep(fd: number): number {
  opened.add(fd);
  return fd;
}

function close(fd: number): void {
  opened.delete(fd);
  closeSync(fd);
}

afterEach(() => {
  setFaultPlan(null);
  for (const fd of opened) close(fd);
});

function pair(type: number): [number, number] {
  const [one, other] = socketPair(type);
  return [keep(one), keep(other)];
}

function memoryFile(text: string): number {
  const fd = keep(createMemoryFile("passed"));
  writeSync(fd, text);
  return fd;
}

/** Bytes that are there already, at most `most`. */
function read(fd: number, most = 1024): string {
  const buffer = Buffer.alloc(most);
  return buffer.toString("latin1", 0, readSync(fd, buffer));
}

/** Sends until the socket is full; returns how much it took. */
function fill(fd: number, block: Uint8Array): { sent: number; errnoName: string } {
  for (let sent = 0; ;) {
    try {
      sent += sendWithFds(fd, block, []);
    } catch (error) {
      return { sent, errnoName: (error as { errnoName: string }).errnoName };
    }
  }
}

describe.each(TYPES)("socketPair(%s)", (_name, type) => {
  test("returns two connected descriptors that a program started later does not get", () => {
    const [one, other] = pair(type);
    writeSync(one, "there");
    writeSync(other, "back");
    expect([read(other), read(one)]).toEqual(["there", "back"]);
    expect([one, other].map(isClosedOnExec)).toEqual([true, true]);
  });
});

describe("socketPair()", () => {
  test("throws when there is no such type", () => {
    const error = failureOf(() => socketPair(0));
    expect(error.message).toBe("Cannot socketpair(0): ESOCKTNOSUPPORT");
  });
});

describe.each(TYPES)("sendWithFds() over %s", (_name, type) => {
  for (const count of [0, 1, 3, MESSAGE_FDS_MAX]) {
    withPython(`passes ${count} descriptors in order beside the bytes`, async () => {
      const [own, theirs] = pair(type);
      const files = Array.from({ length: count }, (_, index) => `file ${index} of ${count}`);
      const fds = files.map(memoryFile);
      expect(sendWithFds(own, Buffer.from("bytes ü"), fds)).toBe(8);
      const received = await python(RECEIVE, { fds: [theirs] });
      const inodes = fds.map((fd) => fstatSync(fd).ino);
      const text = "bytes ü";
      expect(received).toEqual({ type, text, truncated: false, files, inodes });
    });
  }

  withPython(
    "leaves the caller its own descriptors, to close once the kernel has them",
    async () => {
      const [own, theirs] = pair(type);
      const fd = memoryFile("outlives the sender's");
      sendWithFds(own, Buffer.from("x"), [fd]);
      expect(readFileSync(`/proc/self/fd/${fd}`, "utf8")).toBe("outlives the sender's");
      close(fd);
      const received = await python(RECEIVE, { fds: [theirs] });
      expect(received).toMatchObject({ files: ["outlives the sender's"] });
    },
  );

  withPython("sends nothing of an earlier message along", async () => {
    const [own, theirs] = pair(type);
    const [first, second] = pair(type);
    const fds = [memoryFile("a"), memoryFile("b"), memoryFile("c")];
    sendWithFds(first, Buffer.from("a longer message"), fds);
    sendWithFds(own, Buffer.from("x"), fds.slice(2));
    expect(await python(RECEIVE, { fds: [theirs] })).toMatchObject({ text: "x", files: ["c"] });
    sendWithFds(own, Buffer.from("y"), []);
    expect(await python(RECEIVE, { fds: [theirs] })).toMatchObject({ text: "y", files: [] });
    expect(await python(RECEIVE, { fds: [second] })).toMatchObject({ files: ["a", "b", "c"] });
  });

  test("sends only the part of a buffer that a view shows", () => {
    const [own, theirs] = pair(type);
    for (const bytes of [new Uint8Array(26), new Uint8Array(new ArrayBuffer(26))]) {
      bytes.fill(120).set(Buffer.from("middle"), 10);
      expect(sendWithFds(own, bytes.subarray(10, 16), [])).toBe(6);
      expect(read(theirs)).toBe("middle");
    }
  });

  test("sends the bytes that it was given when memory is collected before the call", () => {
    const [own, theirs] = pair(type);
    collectBeforeCalls();
    for (let round = 0; round < 50; round += 1) {
      const text = `${round} ${"x".repeat(round)}`;
      sendWithFds(own, Buffer.from(text), round % 2 === 0 ? [own] : []);
      expect(read(theirs)).toBe(text);
    }
  });

  test("throws EPIPE when the peer is gone, and the process lives on", () => {
    const [own, theirs] = pair(type);
    close(theirs);
    const error = failureOf(() => sendWithFds(own, Buffer.from("s3cret"), []));
    expect(error).toMatchObject({ call: "sendmsg", errnoName: "EPIPE" });
    expect(error.message).toBe("Cannot sendmsg(6 bytes, 0 descriptors): EPIPE");
    expect(JSON.stringify(error)).not.toContain("s3cret");
  });

  test("throws EAGAIN instead of waiting when the socket is full, and sends when it is not", () => {
    const [own, theirs] = pair(type);
    const { sent, errnoName } = fill(own, Buffer.alloc(1000, "x"));
    expect(errnoName).toBe("EAGAIN");
    expect(sent).toBeGreaterThan(10_000);
    for (let left = sent; left > 0;) left -= read(theirs, 1000).length;
    expect(sendWithFds(own, Buffer.from("again"), [])).toBe(5);
    expect(read(theirs)).toBe("again");
  });

  test("throws when a descriptor is not open, and sends nothing", () => {
    const [own, theirs] = pair(type);
    const closed = memoryFile("");
    close(closed);
    const error = failureOf(() => sendWithFds(own, Buffer.from("lost"), [own, closed]));
    expect(error.message).toBe("Cannot sendmsg(4 bytes, 2 descriptors): EBADF");
    sendWithFds(own, Buffer.from("next"), []);
    expect(read(theirs)).toBe("next");
  });
});

describe("sendWithFds()", () => {
  test("takes no more than 12 descriptors, and asserts that before anything is sent", () => {
    const [own, theirs] = pair(SOCK_SEQPACKET);
    const fds = Array.from({ length: MESSAGE_FDS_MAX + 1 }, () => own);
    expect(() => sendWithFds(own, Buffer.from("x"), fds)).toThrow("too many descriptors");
    expect(sendWithFds(own, Buffer.from("fits"), fds.slice(1))).toBe(4);
    expect(read(theirs)).toBe("fits");
  });

  test("asserts that there is a byte to send", () => {
    const [own] = pair(SOCK_STREAM);
    const fd = keep(openSync("/dev/null", "r"));
    expect(() => sendWithFds(own, new Uint8Array(0), [fd])).toThrow("needs a byte");
  });

  test("says how much a stream took where that is less than everything", () => {
    const [own, theirs] = pair(SOCK_STREAM);
    const bytes = Buffer.from(Array.from({ length: 4_000_000 }, (_, index) => index % 251));
    const sent = sendWithFds(own, bytes, []);
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(bytes.length);
    const received = Buffer.alloc(sent);
    for (let at = 0; at < sent;) at += readSync(theirs, received, at, sent - at, null);
    expect(received.equals(bytes.subarray(0, sent))).toBe(true);
  });

  test("keeps the bounds of messages on SOCK_SEQPACKET, and refuses one that is too long", () => {
    const [own, theirs] = pair(SOCK_SEQPACKET);
    const texts = ["a", "bb".repeat(500), "c"];
    for (const text of texts) expect(sendWithFds(own, Buffer.from(text), [])).toBe(text.length);
    expect(texts.map(() => read(theirs))).toEqual(texts);
    const error = failureOf(() => sendWithFds(own, new Uint8Array(64_000_000), []));
    expect(error.errnoName).toBe("EMSGSIZE");
  });
});
