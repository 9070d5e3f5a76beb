/**
 * The runtime's sockets on descriptors of ours, as frames to handlers (streams) and as the control
 * sockets of zygotes (SEQPACKET) use them: order of events, bounds, and the ends of connections.
 */

import { afterEach, describe, expect, test } from "bun:test";
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";

import { type Frame, encodeFrame, FrameReader, FrameType } from "../../../src/guest/wire.ts";
import { connectFd } from "../../../src/sys/connect-fd.ts";
import { SOCK_SEQPACKET, SOCK_STREAM } from "../../../src/sys/constants.ts";
import { sendWithFds, socketPair } from "../../../src/sys/socket.ts";
import { requires } from "../../helpers/requires.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { PYTHON, startChild } from "../../unit/sys/child.ts";

const TYPES = [
  ["stream", SOCK_STREAM],
  ["SEQPACKET", SOCK_SEQPACKET],
] as const;

/** One end is the runtime's, the other a plain descriptor. */
interface Link {
  readonly socket: Bun.Socket;
  readonly fd: number;
  readonly peer: number;
  /** Events in order; `data` with the number of bytes. */
  readonly events: string[];
  readonly chunks: Uint8Array[];
}

const toClose: (() => void)[] = [];

afterEach(() => {
  for (const close of toClose.splice(0)) close();
});

/** Closes a peer's descriptor, once. */
function closePeer(peer: number): () => void {
  let isOpen = true;
  return () => {
    if (isOpen) closeSync(peer);
    isOpen = false;
  };
}

/** @param prepare what the peer does before the runtime has its end */
async function link(type: number, prepare: (peer: number) => void = () => undefined) {
  const [fd, peer] = socketPair(type);
  const hangUp = closePeer(peer);
  toClose.push(hangUp);
  prepare(peer);
  const events: string[] = [];
  const chunks: Uint8Array[] = [];
  const socket = await connectFd(fd, {
    data: (_socket, data) => {
      events.push(`data ${data.length}`);
      chunks.push(data);
    },
    drain: () => void events.push("drain"),
    end: () => void events.push("end"),
    error: (_socket, error) => void events.push(`error ${error.message}`),
    close: (_socket, error) => {
      events.push(`close${error === undefined ? "" : ` ${(error as { code?: string }).code}`}`);
    },
  });
  toClose.push(() => socket.end());
  return { socket, fd, peer, hangUp, events, chunks };
}

/** Takes the bytes that are there already. */
function receive(peer: number, count: number): Buffer {
  const buffer = Buffer.alloc(count);
  for (let at = 0; at < count;) {
    const length = readSync(peer, buffer, at, count - at, null);
    if (length === 0) return buffer.subarray(0, at);
    at += length;
  }
  return buffer;
}

/** Bytes of which each says where it is. */
function pattern(count: number): Buffer {
  const bytes = Buffer.alloc(count);
  for (let at = 0; at < count; at += 1) bytes[at] = at % 251;
  return bytes;
}

const ended = ({ events }: Pick<Link, "events">) => events.some((it) => it.startsWith("close"));

describe.each(TYPES)("a %s socket", (_name, type) => {
  test("tells nothing before whoever awaits the connection has gone on", async () => {
    // Both ends of a guest may have spoken, or be gone, before the worker listens.
    for (const isGone of [false, true]) {
      for (let round = 0; round < 100; round += 1) {
        const it = await link(type, (peer) => {
          sendWithFds(peer, Buffer.from("early"), []);
          if (isGone) toClose.at(-1)?.();
        });
        await Promise.resolve();
        const atFirst = it.events.filter((event) => event !== "drain");
        expect(atFirst).toEqual([]);
        await waitFor(() => (isGone ? ended(it) : it.chunks.length > 0), "it was heard");
        expect(it.events).toContain("data 5");
        it.socket.end();
        it.hangUp();
      }
    }
  });

  test("ends and closes once when the peer closes, and takes no more bytes", async () => {
    const it = await link(type);
    sendWithFds(it.peer, Buffer.from("last words"), []);
    it.hangUp();
    await waitFor(() => ended(it), "it is closed");
    expect(it.events.filter((event) => event !== "drain")).toEqual(["data 10", "end", "close"]);
    expect(it.socket.write("x")).toBe(-1);
  });

  test("closes once when the peer dies with bytes unread", async () => {
    const it = await link(type);
    expect(it.socket.write("never read")).toBe(10);
    it.hangUp();
    await waitFor(() => ended(it), "it is closed");
    const events = it.events.filter((event) => event !== "drain");
    expect(events).toEqual(["close ECONNRESET"]);
    expect(it.socket.write("x")).toBe(-1);
  });

  test("is the descriptor's owner: end() closes it, which the peer reads as the end", async () => {
    const it = await link(type);
    const name = readlinkSync(`/proc/self/fd/${it.fd}`);
    it.socket.end();
    expect(receive(it.peer, 1).length).toBe(0);
    await waitFor(() => ended(it), "it is closed");
    const open = readdirSync("/proc/self/fd").map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return "the listing itself";
      }
    });
    expect(open).not.toContain(name);
  });

  test("takes messages of ours in between its own, in order", async () => {
    const it = await link(type);
    const file = openSync("/dev/null", "r");
    toClose.push(() => closeSync(file));
    expect(it.socket.write("one,")).toBe(4);
    expect(sendWithFds(it.fd, Buffer.from("two,"), [file])).toBe(4);
    expect(it.socket.write("three")).toBe(5);
    expect(receive(it.peer, 4).toString()).toBe("one,");
    expect(receive(it.peer, 4).toString()).toBe("two,");
    expect(receive(it.peer, 5).toString()).toBe("three");
  });

  test("drops descriptors that a peer sends", async () => {
    const it = await link(type);
    const file = openSync("/dev/zero", "r");
    toClose.push(() => closeSync(file));
    const count = (): number =>
      readdirSync("/proc/self/fd").filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === "/dev/zero";
        } catch {
          return false;
        }
      }).length;
    const before = count();
    for (let sent = 0; sent < 10; sent += 1) {
      sendWithFds(it.peer, Buffer.from("take these"), [file, file, file]);
    }
    const received = (): number => it.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    await waitFor(() => received() === 100, "all bytes are there");
    expect(count()).toBe(before);
  });
});

describe("a stream socket", () => {
  test("takes a part of a large write, nothing while it is full, and drains", async () => {
    const it = await link(SOCK_STREAM);
    const bytes = pattern(4_000_000);
    const first = it.socket.write(bytes);
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(bytes.length);
    expect(it.socket.write(bytes.subarray(first))).toBe(0);
    it.events.length = 0;
    const received = [receive(it.peer, first)];
    await waitFor(() => it.events.includes("drain"), "there is room");
    for (let sent = first; sent < bytes.length;) {
      const taken = it.socket.write(bytes.subarray(sent));
      expect(taken).toBeGreaterThan(0);
      sent += taken;
      received.push(receive(it.peer, taken));
    }
    expect(Buffer.concat(received).equals(bytes)).toBe(true);
  });

  test("gives chunks that later ones leave as they are", async () => {
    const it = await link(SOCK_STREAM);
    const bytes = pattern(3_000_000);
    for (let sent = 0; sent < bytes.length;) {
      try {
        sent += sendWithFds(it.peer, bytes.subarray(sent, sent + 1 + (sent % 70_000)), []);
      } catch (error) {
        expect((error as { errnoName: string }).errnoName).toBe("EAGAIN");
        const heard = it.chunks.length;
        await waitFor(() => it.chunks.length > heard, "there is room");
      }
      if (it.chunks.length % 10 === 0) Bun.gc(false);
    }
    const received = (): number => it.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    await waitFor(() => received() === bytes.length, "all bytes are there");
    Bun.gc(true);
    expect(it.chunks.length).toBeGreaterThan(5);
    expect(Buffer.concat(it.chunks).equals(bytes)).toBe(true);
  });

  test("stays open when a handler throws, and tells the error handler", async () => {
    const [fd, peer] = socketPair(SOCK_STREAM);
    const errors: string[] = [];
    const socket = await connectFd(fd, {
      data: () => {
        throw new Error("of the handler");
      },
      error: (_socket, error) => void errors.push(error.message),
    });
    toClose.push(() => socket.end(), closePeer(peer));
    sendWithFds(peer, Buffer.from("x"), []);
    await waitFor(() => errors.length > 0, "the error is told");
    expect(errors).toEqual(["of the handler"]);
    expect(socket.write("still here")).toBe(10);
  });

  requires({ programs: [PYTHON] })("carries frames of any size both ways", async () => {
    const [fd, theirs] = socketPair(SOCK_STREAM);
    const echo = `
import socket
peer = socket.socket(fileno=3)
while True:
    data = peer.recv(1 << 20)
    if not data: break
    peer.sendall(data)`;
    const child = startChild([PYTHON, "-I", "-S", "-c", echo], { fds: [theirs] });
    closeSync(theirs);
    const sizes = [0, 1, 8, 9, 10, 4_096, 65_536, 524_288, 2_000_003];
    const frames: Frame[] = [];
    const reader = new FrameReader();
    let unsent: Uint8Array = Buffer.concat(
      sizes.map((size, id) => encodeFrame(FrameType.RESULT, id, pattern(size))),
    );
    const send = (socket: Bun.Socket): void => {
      unsent = unsent.subarray(Math.max(0, socket.write(unsent)));
    };
    const socket = await connectFd(fd, {
      data: (_socket, data) => void frames.push(...reader.push(data)),
      drain: send,
    });
    send(socket);
    await waitFor(() => frames.length === sizes.length, "all frames are back");
    for (const [id, size] of sizes.entries()) {
      const { payload, callId } = frames[id] as Frame;
      expect([callId, Buffer.from(payload).equals(pattern(size))]).toEqual([id, true]);
    }
    socket.end();
    expect(await child.exited).toBe(0);
  });
});

describe("a SEQPACKET socket", () => {
  test("gives each message by itself, also where many are waiting", async () => {
    const sizes = [1, 700, 3, 60_000, 2, 512, 1];
    const it = await link(SOCK_SEQPACKET, (peer) => {
      for (const size of sizes) sendWithFds(peer, pattern(size), []);
    });
    await waitFor(() => it.chunks.length >= sizes.length, "all are there");
    expect(it.chunks.map((chunk) => chunk.length)).toEqual(sizes);
    for (const chunk of it.chunks) {
      expect(Buffer.from(chunk).equals(pattern(chunk.length))).toBe(true);
    }
    for (const size of sizes.slice(1)) expect(it.socket.write(pattern(size))).toBe(size);
    for (const size of sizes.slice(1)) {
      const buffer = Buffer.alloc(100_000);
      expect(readSync(it.peer, buffer)).toBe(size);
    }
  });
});
