/** Frames between worker and guest in both directions, and the words of zygotes. */

import * as fc from "fast-check";

import { OlError } from "../../src/common/errors.ts";
import { GuestConnection } from "../../src/guest/guest-connection.ts";
import { encodeFrame, type Frame, FrameReader, FrameType } from "../../src/guest/wire.ts";
import { Zygote } from "../../src/sandbox/sock/zygote.ts";
import { SOCK_SEQPACKET } from "../../src/sys/constants.ts";
import { sendWithFds, socketPair } from "../../src/sys/socket.ts";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../helpers/temp-dir.ts";
import { type Target, target } from "./target.ts";

const GUEST_DIR = join(import.meta.dir, "../../src/guest");
const fromGuest = fc.integer({ min: FrameType.READY, max: FrameType.ENCLOSED });
const u32 = fc.oneof(fc.nat(8), fc.integer({ min: 0, max: 0xffffffff }));
const bytes = fc.uint8Array({ maxLength: 300 });
const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });

function pieces(data: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0, turn = 0; at < data.byteLength; turn++) {
    const end = at + (sizes[turn % sizes.length] ?? 1);
    found.push(data.subarray(at, end));
    at = end;
  }
  return found;
}

function demand(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

const frame = fc.record({ type: fromGuest, callId: u32, payload: bytes });

const roundTrip = fc.property(fc.array(frame, { maxLength: 12 }), cuts, (frames, sizes) => {
  const stream = Buffer.concat(frames.map((f) => encodeFrame(f.type, f.callId, f.payload)));
  const reader = new FrameReader();
  const got: Frame[] = pieces(stream, sizes).flatMap((piece) => reader.push(piece));
  demand(got.length === frames.length, `${got.length} frames of ${frames.length}`);
  for (const [index, one] of frames.entries()) {
    const other = got[index];
    const same =
      other?.type === one.type &&
      other.callId === one.callId &&
      Buffer.compare(other.payload, one.payload) === 0;
    demand(same, `frame ${index} differs`);
  }
});

const garbage = fc.property(fc.array(bytes, { maxLength: 10 }), (chunks) => {
  const reader = new FrameReader();
  try {
    for (const chunk of chunks) reader.push(chunk);
  } catch (error) {
    demand(error instanceof OlError && error.code === "protocol_violation", String(error));
  }
});

const hostile = fc.oneof(
  { weight: 5, arbitrary: frame.map((f) => encodeFrame(f.type, f.callId, f.payload)) },
  {
    weight: 2,
    arbitrary: fc.tuple(u32, fc.json()).map(([length, json]) => {
      const head = Buffer.alloc(4);
      head.writeUInt32LE(length);
      return encodeFrame(FrameType.READY, 0, Buffer.concat([head, Buffer.from(json)]));
    }),
  },
  { weight: 1, arbitrary: bytes },
);

/** Whatever a guest sends, each call ends once, with a result or an error of ours. */
const hostileGuest = fc.asyncProperty(
  fc.array(hostile, { maxLength: 12 }),
  fc.nat(4),
  cuts,
  async (parts, calls, sizes) => {
    let ends = 0;
    const socket = { write: (data: Uint8Array) => data.byteLength, end: () => {} };
    const connection = new GuestConnection(socket, { onReady: () => {}, onEnd: () => ends++ });
    const waiting = Array.from({ length: calls }, () =>
      connection.call(new Uint8Array(0)).catch((error: unknown) => {
        demand(error instanceof OlError, `rejected with ${String(error)}`);
      }),
    );
    for (const piece of pieces(Buffer.concat(parts), sizes)) connection.received(piece);
    connection.closed();
    connection.fail(new OlError("sandbox_died", "the end"));
    await Promise.all(waiting);
    demand(ends === 1, `its end was told ${ends} times`);
    demand(connection.inFlight === 0, "a call is still waiting");
  },
);

const word = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.json({ maxDepth: 3 }),
  fc
    .record(
      {
        event: fc.constantFrom("unmapped", "ready", "exit", "failed", "gone"),
        id: fc.constantFrom("self", "child", "__proto__", "", "other"),
        signal: fc.oneof(fc.integer(), fc.double(), fc.string()),
        code: fc.oneof(fc.nat(300), fc.constant(null)),
        importUs: fc.oneof(fc.nat(), fc.double(), fc.constant("9")),
        message: fc.oneof(fc.string(), fc.integer()),
      },
      { requiredKeys: [] },
    )
    .map((value) => JSON.stringify(value)),
);

/** A zygote that ran foreign code says anything: its children end at most once and nothing breaks. */
const zygoteWords = fc.asyncProperty(fc.array(word, { maxLength: 8 }), async (words) => {
  const [own, theirs] = socketPair(SOCK_SEQPACKET);
  const zygote = await Zygote.open("fuzz", own);
  let exits = 0;
  zygote.fork(
    { op: "spare", id: "child" },
    [],
    () => {},
    () => exits++,
  );
  const ready = zygote.expect("ready", 5_000).catch((error: unknown) => {
    demand(error instanceof OlError, `rejected with ${String(error)}`);
  });
  for (const text of words) {
    if (text === "") continue;
    try {
      sendWithFds(theirs, Buffer.from(text), []);
    } catch {
      // The worker has closed its end.
      break;
    }
  }
  closeSync(theirs);
  await Promise.all([zygote.gone, ready]);
  demand(exits === 1, `the child ended ${exits} times`);
});

const PYTHON_READER = [
  "import sys, json, hashlib",
  `sys.path.insert(0, ${JSON.stringify(GUEST_DIR)})`,
  "import wire",
  "reader = wire.Reader(0)",
  "found = []",
  "while True:",
  "    message = reader.read()",
  "    if message is None: break",
  "    found.append([message[0], message[1], hashlib.sha256(message[2]).hexdigest()])",
  "print(json.dumps(found))",
].join("\n");

const toGuest = fc.record({ type: fc.constantFrom(1, 2), callId: u32, payload: bytes });

/** What the worker encodes, the guest's own reader decodes. */
const pythonReader = fc.asyncProperty(fc.array(toGuest, { maxLength: 200 }), async (frames) => {
  const stream = Buffer.concat(frames.map((f) => encodeFrame(f.type, f.callId, f.payload)));
  // Files, not pipes: the runtime gives those back only when it collects garbage.
  using temp = tempDir("ol-fuzz-");
  writeFileSync(temp.join("frames"), stream);
  const from = openSync(temp.join("frames"), "r");
  const to = openSync(temp.join("found"), "w");
  const child = Bun.spawn(["/usr/bin/python3", "-I", "-c", PYTHON_READER], {
    stdio: [from, to, "ignore"],
  });
  closeSync(from);
  closeSync(to);
  await child.exited;
  const got: unknown = JSON.parse(readFileSync(temp.join("found"), "utf8"));
  const wanted = frames.map((f) => [
    f.type,
    f.callId,
    new Bun.CryptoHasher("sha256").update(f.payload).digest("hex"),
  ]);
  demand(JSON.stringify(got) === JSON.stringify(wanted), "the guest reads something else");
});

/** Targets of this file. */
export const PROTOCOL_TARGETS: readonly Target[] = [
  target("frames from guests", 500, roundTrip),
  target("garbage from guests", 500, garbage),
  target("hostile guest", 300, hostileGuest),
  target("zygote events", 40, zygoteWords),
  target("frames to guests", 3, pythonReader),
];
