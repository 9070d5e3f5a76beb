/** Frames on the worker's side: what a guest sends is cut right however it arrives, and bounded. */

import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { OlError } from "../../../src/common/errors.ts";
import { FRAME_MAX_BYTES } from "../../../src/common/limits.ts";
import {
  encodeAssign,
  encodeFrame,
  type Frame,
  FrameReader,
  FrameType,
} from "../../../src/guest/wire.ts";

const HEADER_BYTES = 9;
const GUEST_TYPES = Object.values(FrameType).filter((type) => type >= FrameType.READY);

const u32 = fc.oneof(fc.nat(8), fc.integer({ min: 0, max: 0xffff_ffff }));
const frame = fc.record({
  type: fc.constantFrom(...GUEST_TYPES),
  callId: u32,
  payload: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 3_000 })),
});

function header(length: number, type: number, callId = 0): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32LE(length, 0);
  bytes[4] = type;
  bytes.writeUInt32LE(callId, 5);
  return bytes;
}

function streamOf(frames: readonly Frame[]): Uint8Array {
  return Buffer.concat(
    frames.map(({ type, callId, payload }) => encodeFrame(type, callId, payload)),
  );
}

/** Cuts at the given places; equal places give empty chunks. */
function cut(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = places.map((place) => place % (stream.byteLength + 1)).toSorted((a, b) => a - b);
  return [0, ...sorted].map((start, index) => stream.subarray(start, sorted[index]));
}

function plain(frames: readonly Frame[]): unknown[] {
  return frames.map(({ type, callId, payload }) => [
    type,
    callId,
    Buffer.from(payload).toString("hex"),
  ]);
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof OlError) return error.code;
    throw error;
  }
  return "none";
}

test("push() gives the same frames however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 60 }),
      (frames, places) => {
        const reader = new FrameReader();
        const got = cut(streamOf(frames), places).flatMap((chunk) => reader.push(chunk));
        expect(plain(got)).toEqual(plain(frames));
      },
    ),
    { numRuns: 400 },
  );
});

test("push() gives the same frames byte by byte", () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 4 }), (frames) => {
      const reader = new FrameReader();
      const stream = streamOf(frames);
      const got: Frame[] = [];
      for (let at = 0; at < stream.byteLength; at++)
        got.push(...reader.push(stream.subarray(at, at + 1)));
      expect(plain(got)).toEqual(plain(frames));
    }),
    { numRuns: 50 },
  );
});

test("push() gives a frame with the chunk that completes it, not later", () => {
  const reader = new FrameReader();
  const stream = encodeFrame(FrameType.RESULT, 7, Buffer.from("payload"));
  expect(reader.push(stream.subarray(0, -1))).toEqual([]);
  expect(reader.push(stream.subarray(-1))).toHaveLength(1);
  expect(reader.push(new Uint8Array(0))).toEqual([]);
});

test("push() waits for a payload of the largest size and refuses one byte more unread", () => {
  expect(new FrameReader().push(header(FRAME_MAX_BYTES, FrameType.RESULT))).toEqual([]);
  for (const length of [FRAME_MAX_BYTES + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    const reader = new FrameReader();
    expect(codeOf(() => reader.push(header(length, FrameType.RESULT)))).toBe("protocol_violation");
  }
});

test("push() refuses every type that no guest may send, before its payload is there", () => {
  const known = new Set<number>(GUEST_TYPES);
  for (let type = 0; type < 256; type++) {
    const reader = new FrameReader();
    const wanted = known.has(type) ? "none" : "protocol_violation";
    expect([type, codeOf(() => reader.push(header(1_000, type)))]).toEqual([type, wanted]);
  }
});

test("push() says nothing of a header that is not complete", () => {
  const reader = new FrameReader();
  const broken = header(0xffff_ffff, 99);
  for (let at = 0; at < HEADER_BYTES - 1; at++) {
    expect(reader.push(broken.subarray(at, at + 1))).toEqual([]);
  }
  expect(codeOf(() => reader.push(broken.subarray(HEADER_BYTES - 1)))).toBe("protocol_violation");
});

test("push() answers garbage with frames or a violation, and with nothing else", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 10 }), (chunks) => {
      const reader = new FrameReader();
      const code = codeOf(() => chunks.map((chunk) => reader.push(chunk)));
      expect(code).toBeOneOf(["none", "protocol_violation"]);
    }),
    { numRuns: 500 },
  );
});

test("push() cuts a large payload that comes in pieces of a socket's size", () => {
  const payload = Buffer.alloc(8 * 1024 * 1024 + 5, "0123456789abcdef");
  const stream = Buffer.concat([
    encodeFrame(FrameType.RESULT, 1, payload),
    encodeFrame(FrameType.RESULT, 2, Buffer.from("next")),
  ]);
  const reader = new FrameReader();
  const got: Frame[] = [];
  for (let at = 0; at < stream.byteLength; at += 65_536) {
    got.push(...reader.push(stream.subarray(at, at + 65_536)));
  }
  expect(got.map(({ callId }) => callId)).toEqual([1, 2]);
  expect(Buffer.compare(got[0]!.payload, payload)).toBe(0);
  expect(Buffer.from(got[1]!.payload).toString()).toBe("next");
});

test("push() keeps few buffers for a guest that sends byte by byte", () => {
  const reader = new FrameReader();
  reader.push(header(FRAME_MAX_BYTES, FrameType.RESULT));
  const source = new Uint8Array(1_024);
  const buffers = (): number => {
    Bun.gc(true);
    return heapStats().objectTypeCounts["Uint8Array"] ?? 0;
  };
  const before = buffers();
  for (let sent = 0; sent < 50_000; sent++)
    reader.push(source.subarray(sent % 1_024, (sent % 1_024) + 1));
  const kept = buffers() - before;
  // Used after the count, so that it is alive until then.
  expect(reader.push(new Uint8Array(1))).toEqual([]);
  expect(kept).toBeLessThan(1_000);
});

test("encodeFrame() puts length, type and call id before the payload, little-endian", () => {
  const bytes = encodeFrame(FrameType.CALL, 0xfedc_ba98, Buffer.from([1, 2, 3]));
  expect([...bytes]).toEqual([3, 0, 0, 0, 2, 0x98, 0xba, 0xdc, 0xfe, 1, 2, 3]);
  expect([...encodeFrame(FrameType.ASSIGN, 0, new Uint8Array(0))]).toEqual([
    0, 0, 0, 0, 1, 0, 0, 0, 0,
  ]);
});

test("encodeFrame() copies: the caller may use its buffer again", () => {
  const payload = Buffer.from("event");
  const bytes = encodeFrame(FrameType.CALL, 1, payload);
  payload.fill(0);
  expect(Buffer.from(bytes.subarray(HEADER_BYTES)).toString()).toBe("event");
});

test("encodeAssign() holds any settings and any code", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue()),
      fc.uint8Array(),
      (config, code) => {
        const payload = Buffer.from(encodeAssign(config, code));
        const length = payload.readUInt32LE(0);
        const text = payload.subarray(4, 4 + length).toString();
        expect(text).toBe(JSON.stringify(config));
        expect(Buffer.compare(payload.subarray(4 + length), code)).toBe(0);
      },
    ),
    { numRuns: 200 },
  );
});
