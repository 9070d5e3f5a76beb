/** Both sides of the wire speak the same language: `wire.py` against `wire.ts`, byte for byte. */

import { expect } from "bun:test";
import * as fc from "fast-check";
import {
  FRAME_MAX_BYTES,
  GUEST_MESSAGE_MAX_CHARS,
  OUTPUT_MAX_BYTES,
} from "../../../src/common/limits.ts";
import { encodeAssign, encodeFrame, FrameReader, FrameType } from "../../../src/guest/wire.ts";
import { runPython, testPython } from "./python.ts";

/** Spawning an interpreter costs more than a case, so each run has many. */
const RUNS = { numRuns: 4 };

const u32 = fc.oneof(fc.nat(8), fc.integer({ min: 0, max: 0xffff_ffff }));
const payload = fc.oneof(fc.uint8Array({ maxLength: 30 }), fc.uint8Array({ maxLength: 400 }));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

testPython("wire.py has the constants of wire.ts and of the limits", async () => {
  const names = [...Object.keys(FrameType), "PAYLOAD_MAX", "OUTPUT_MAX", "MESSAGE_MAX"];
  const program = `
import json, wire, handler
print(json.dumps([getattr(wire, name, None) or getattr(handler, name, None) for name in json.load(sys.stdin)]))`;
  expect(await runPython(program, JSON.stringify(names))).toEqual([
    ...Object.values(FrameType),
    FRAME_MAX_BYTES,
    OUTPUT_MAX_BYTES,
    GUEST_MESSAGE_MAX_CHARS,
  ]);
});

testPython("FrameReader reads what wire.py frames", async () => {
  const program = `
import json, wire
cases = json.load(sys.stdin)
print(json.dumps([wire.frame(kind, call, bytes.fromhex(data)).hex() for kind, call, data in cases]))`;
  const frame = fc.tuple(
    fc.integer({ min: FrameType.READY, max: FrameType.SETUP_FAILED }),
    u32,
    payload.map(hex),
  );
  const property = fc.asyncProperty(fc.array(frame, { maxLength: 200 }), async (frames) => {
    const framed = (await runPython(program, JSON.stringify(frames))) as string[];
    const reader = new FrameReader();
    const got = framed.flatMap((text) => reader.push(Buffer.from(text, "hex")));
    expect(got.map((one) => [one.type, one.callId, hex(one.payload)])).toEqual(frames);
  });
  await fc.assert(property, RUNS);
});

testPython("wire.py reads what encodeFrame makes, in whatever pieces it comes", async () => {
  const program = `
import json, os, socket, threading, wire
def feed(sock, pieces):
    for piece in pieces:
        sock.sendall(bytes.fromhex(piece))
    sock.close()
found = []
for pieces in json.load(sys.stdin):
    ours, theirs = socket.socketpair()
    threading.Thread(target=feed, args=(theirs, pieces)).start()
    reader, frames = wire.Reader(ours.fileno()), []
    while True:
        message = reader.read()
        if message is None: break
        frames.append([message[0], message[1], message[2].hex()])
    found.append(frames)
    ours.close()
print(json.dumps(found))`;
  const frame = fc.record({ type: fc.constantFrom(1, 2), callId: u32, data: payload });
  const stream = fc.record({
    frames: fc.array(frame, { maxLength: 6 }),
    sizes: fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }),
  });
  const property = fc.asyncProperty(fc.array(stream, { maxLength: 60 }), async (streams) => {
    const pieces = streams.map(({ frames, sizes }) => {
      const all = Buffer.concat(frames.map((f) => encodeFrame(f.type, f.callId, f.data)));
      const cut: string[] = [];
      for (let at = 0, turn = 0; at < all.byteLength; turn++) {
        const end = at + (sizes[turn % sizes.length] ?? 1);
        cut.push(hex(all.subarray(at, end)));
        at = end;
      }
      return cut;
    });
    const wanted = streams.map(({ frames }) => frames.map((f) => [f.type, f.callId, hex(f.data)]));
    expect(await runPython(program, JSON.stringify(pieces))).toEqual(wanted);
  });
  await fc.assert(property, RUNS);
});

testPython(
  "wire.py reads a large frame and what follows it, and None where one is cut off",
  async () => {
    const program = `
import hashlib, json, os, threading, wire
size = 5_000_017
data = os.urandom(size)
stream = wire.frame(2, 1, data) + wire.frame(2, 2, b"next") + wire.frame(2, 3, b"cut off")[:-1]
receive, send = os.pipe()
def feed():
    wire.write_all(send, stream)
    os.close(send)
threading.Thread(target=feed).start()
reader = wire.Reader(receive)
first, second = reader.read(), reader.read()
print(json.dumps([first[2] == data, second[2].decode(), reader.read(), reader.read()]))`;
    expect(await runPython(program)).toEqual([true, "next", null, null]);
  },
);

testPython("wire.py tells whether a whole frame is here without waiting for it", async () => {
  const program = `
import json, socket, wire
ours, theirs = socket.socketpair()
reader = wire.Reader(ours.fileno(), b"")
seen = []
def look():
    reader.poll(ours)
    seen.append(reader.pending())
stream = wire.frame(2, 1, b"event")
look()
for at in range(len(stream)):
    theirs.send(stream[at : at + 1])
    look()
theirs.close()
look()
print(json.dumps([seen, reader.read()[2].decode(), reader.read()]))`;
  const frameBytes = 9 + "event".length;
  const seen = [...Array<boolean>(frameBytes).fill(false), true, true];
  expect(await runPython(program)).toEqual([seen, "event", null]);
});

testPython("handler.py takes apart what encodeAssign makes", async () => {
  const program = `
import json, handler
found = []
for data in json.load(sys.stdin):
    config, code = handler.split_assign(bytes.fromhex(data))
    found.append([config, code.hex()])
print(json.dumps(found))`;
  const assign = fc.record({
    config: fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 2 }), {
      maxKeys: 5,
    }),
    code: payload,
  });
  const property = fc.asyncProperty(fc.array(assign, { maxLength: 60 }), async (cases) => {
    const payloads = cases.map(({ config, code }) => hex(encodeAssign(config, code)));
    const wanted: unknown = JSON.parse(
      JSON.stringify(cases.map(({ config, code }) => [config, hex(code)])),
    );
    expect(await runPython(program, JSON.stringify(payloads))).toEqual(wanted);
  });
  await fc.assert(property, RUNS);
});
