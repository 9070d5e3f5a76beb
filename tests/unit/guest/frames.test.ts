/** What a guest may say when, and what its words cost. */

import { describe, expect, test } from "bun:test";
import { heapStats } from "bun:jsc";

import type { OlError } from "../../../src/common/errors.ts";
import { GuestConnection } from "../../../src/guest/guest-connection.ts";
import { encodeFrame, FrameReader, FrameType } from "../../../src/guest/wire.ts";

const READY = encodeFrame(FrameType.READY, 0, Buffer.from('\u000f\0\0\0{"importUs": 1}the code'));
const RESULT = encodeFrame(FrameType.RESULT, 1, Buffer.from("\0\0\0\0null"));
const NO = Buffer.from("no");

/** A connection and what was heard of it. */
function connect(isWaiting = false): {
  connection: GuestConnection;
  heard: { ready: number; ends: (string | null)[] };
} {
  const heard: { ready: number; ends: (string | null)[] } = { ready: 0, ends: [] };
  const socket = { write: (data: Uint8Array) => data.byteLength, end: () => {} };
  const events = {
    onReady: () => (heard.ready += 1),
    onEnd: (error: OlError | null) => heard.ends.push(error?.code ?? null),
  };
  return { connection: new GuestConnection(socket, events, isWaiting), heard };
}

describe("a guest that is not enclosed yet", () => {
  test("may say that it cannot be set up, which is no fault of a lambda", () => {
    const { connection, heard } = connect(true);
    connection.received(encodeFrame(FrameType.SETUP_FAILED, 0, NO));
    expect(heard.ends).toEqual(["sandbox_create"]);
  });

  test.each(["READY", "RESULT", "LOAD_FAILED"] as const)("may not say %s", (name) => {
    const { connection, heard } = connect(true);
    connection.received(name === "READY" ? READY : encodeFrame(FrameType[name], 0, NO));
    expect(heard).toEqual({ ready: 0, ends: ["protocol_violation"] });
  });

  test("may not announce more than a message", () => {
    const { connection, heard } = connect(true);
    const large = encodeFrame(FrameType.SETUP_FAILED, 0, new Uint8Array(200_000));
    connection.received(large.subarray(0, 20));
    expect(heard.ends).toEqual(["protocol_violation"]);
  });
});

describe("a guest that loads its lambda", () => {
  test.each([
    ["LOAD_FAILED", "lambda_load"],
    ["SETUP_FAILED", "sandbox_died"],
    ["RESULT", "protocol_violation"],
    ["EXCEPTION", "protocol_violation"],
  ] as const)("that says %s ends as %s, and so does its call", async (name, code) => {
    const { connection, heard } = connect(true);
    connection.received(encodeFrame(FrameType.ENCLOSED, 0, new Uint8Array(0)));
    const call = connection.call(NO);
    connection.received(encodeFrame(FrameType[name], 1, NO));
    connection.fail(connection.loadError ?? ({ code } as OlError));
    expect(await call.catch((error: OlError) => error.code)).toBe(code);
    expect(heard.ends).toEqual([code]);
  });

  test("is ready once", async () => {
    const { connection, heard } = connect();
    const call = connection.call(NO);
    connection.received(Buffer.concat([READY, RESULT]));
    expect(Buffer.from((await call).body).toString()).toBe("null");
    connection.received(READY);
    expect(heard).toEqual({ ready: 1, ends: ["protocol_violation"] });
  });
});

// A worker that is busy reads all of it at once: found by the soak, as a 502 for an honest answer.
test("a large answer may come in one piece with the first words of its guest", async () => {
  const { connection, heard } = connect(true);
  const call = connection.call(NO);
  const answer = encodeFrame(FrameType.RESULT, 1, new Uint8Array(200_000));
  const first = encodeFrame(FrameType.ENCLOSED, 0, NO);
  connection.received(Buffer.concat([first, READY, answer]));
  expect((await call).body.byteLength).toBe(200_000 - 4);
  expect(heard).toEqual({ ready: 1, ends: [] });
});

describe("a guest that is ready", () => {
  test.each(["READY", "LOAD_FAILED", "SETUP_FAILED"] as const)(
    "may not say %s, with a call in flight or without",
    (name) => {
      for (const calls of [0, 1]) {
        const { connection, heard } = connect();
        connection.received(READY);
        if (calls > 0) connection.call(NO).catch(() => undefined);
        connection.received(name === "READY" ? READY : encodeFrame(FrameType[name], 0, NO));
        expect(heard).toEqual({ ready: 1, ends: ["protocol_violation"] });
      }
    },
  );

  test("may send nothing that was not asked for, not even the start of it", () => {
    const { connection, heard } = connect();
    connection.received(READY);
    expect(heard.ends).toEqual([]);
    connection.received(RESULT.subarray(0, 1));
    expect(heard.ends).toEqual(["protocol_violation"]);
  });

  test("may send its answer in pieces", async () => {
    const { connection, heard } = connect();
    connection.received(READY);
    const call = connection.call(NO);
    for (const byte of RESULT) connection.received(new Uint8Array([byte]));
    expect(Buffer.from((await call).body).toString()).toBe("null");
    expect(heard.ends).toEqual([]);
  });
});

describe("FrameReader", () => {
  test("holds a frame that comes byte by byte in one piece", () => {
    const size = 300_000;
    const frame = encodeFrame(FrameType.RESULT, 7, Buffer.alloc(size, "x"));
    const reader = new FrameReader();
    const arrays = (): number => {
      Bun.gc(true);
      return heapStats().objectTypeCounts["Uint8Array"] ?? 0;
    };
    const before = arrays();
    for (const byte of frame.subarray(0, -1)) reader.push(new Uint8Array([byte]));
    expect(arrays() - before).toBeLessThan(1_000);
    expect(reader.heldBytes).toBe(size + 8);
    const [whole] = reader.push(frame.subarray(-1));
    expect(whole?.callId).toBe(7);
    expect(whole?.payload.every((byte) => byte === 120)).toBe(true);
    expect(reader.heldBytes).toBe(0);
  });

  test("never changes a payload that it has given away", () => {
    const reader = new FrameReader();
    const frames = ["one", "two", "three", "four"].map((word) =>
      encodeFrame(FrameType.RESULT, 1, Buffer.from(word.repeat(50))),
    );
    const stream = Buffer.concat(frames);
    const found: Uint8Array[] = [];
    for (let at = 0; at < stream.byteLength; at += 170) {
      // A copy: the reader may keep what it is given.
      const part = Uint8Array.from(stream.subarray(at, at + 170));
      found.push(...reader.push(part).map(({ payload }) => payload));
    }
    const words = found.map((payload) => Buffer.from(payload).toString());
    expect(words).toEqual(["one", "two", "three", "four"].map((word) => word.repeat(50)));
  });
});
