/** Guests that say when their lambda is loaded, that it is not, or what no guest may say. */

import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { OlError } from "../../../src/common/errors.ts";
import { GuestConnection } from "../../../src/guest/guest-connection.ts";
import { encodeFrame, FrameType } from "../../../src/guest/wire.ts";
import { connect, event, FakeSocket, outcome, ready, result, text } from "./fake-socket.ts";

const HEADER_BYTES = 9;

describe("loading", () => {
  test("received() tells the import time and the code", () => {
    const { connection, readies, ends } = connect("loading");
    connection.received(ready(`{"importUs": 12.5, "pid": 1}`, "code"));
    expect(readies.map(({ importUs }) => importUs)).toEqual([12.5]);
    expect(Buffer.from(readies[0]!.code).toString()).toBe("code");
    expect(ends).toEqual([]);
  });

  test("received() copies the code, which is kept, out of what came with it", () => {
    const { connection, readies } = connect("loading");
    void outcome(connection.call(event("")));
    const chunk = Buffer.concat([ready("{}", "code"), result(1, "x".repeat(100_000))]);
    connection.received(chunk);
    expect(readies[0]!.code.buffer.byteLength).toBe(4);
  });

  test.each([
    ["null", 0],
    ["3", 0],
    ["{}", 0],
    [`{"importUs": -1}`, 0],
    [`{"importUs": "7"}`, 0],
    [`{"importUs": null}`, 0],
    [`{"importUs": {"importUs": 3}}`, 0],
  ])("received() takes no time out of the ready message %s", (head, importUs) => {
    const { connection, readies, ends } = connect("loading");
    connection.received(ready(head));
    expect([readies.map((one) => one.importUs), ends]).toEqual([[importUs], []]);
  });

  test.each([
    ["without a length", encodeFrame(FrameType.READY, 0, Buffer.from("{}"))],
    ["that is empty", encodeFrame(FrameType.READY, 0, Buffer.alloc(0))],
    ["with a length beyond its end", ready("{", "", 0xffff_ffff)],
    ["with half of the text", ready(`{"importUs": 1}`, "", 5)],
    ["with bytes that are no text", ready("\xff{}")],
  ])("received() ends a guest whose ready message comes %s", (_what, bytes) => {
    const { connection, readies, ends, socket } = connect("loading");
    connection.received(bytes);
    expect(readies).toEqual([]);
    expect(ends.map((error) => error?.code)).toEqual(["protocol_violation"]);
    expect(socket.ends).toBe(1);
  });

  test.each([
    [FrameType.LOAD_FAILED, "lambda_load", "reason"],
    [FrameType.SETUP_FAILED, "sandbox_died", "The lambda's process could not be set up: reason"],
  ])(
    "received() of type %i fails every call, those that wait and those to come",
    async (type, code, words) => {
      const { connection, ends } = connect("loading");
      const waiting = [outcome(connection.call(event(""))), outcome(connection.call(event("")))];
      connection.received(text(type, 0, "reason\n"));
      expect(await Promise.all(waiting)).toEqual([`${code}: ${words}`, `${code}: ${words}`]);
      expect(await outcome(connection.call(event("")))).toBe(`${code}: ${words}`);
      expect(connection.loadError?.code).toBe(code as "lambda_load");
      expect(ends).toEqual([connection.loadError]);
      expect(connection.inFlight).toBe(0);
    },
  );
});

describe("a guest that breaks the protocol", () => {
  test.each([
    ["an answer to a call that it was not given", result(9, "x")],
    ["an answer to call 0", result(0, "x")],
    ["an exception of a call that it was not given", text(FrameType.EXCEPTION, 9, "x")],
    ["garbage", Buffer.alloc(HEADER_BYTES, 0xff)],
    ["a type of the worker's", encodeFrame(FrameType.CALL, 1, Buffer.from("{}"))],
    ["a frame that is too large", Buffer.from([0, 0, 0, 0xff, FrameType.RESULT, 1, 0, 0, 0])],
  ])("received() of %s ends it and leaves its calls to fail()", async (_what, bytes) => {
    const { connection, ends, socket } = connect();
    const call = outcome(connection.call(event("")));
    connection.received(bytes);
    expect(ends.map((error) => error?.code)).toEqual(["protocol_violation"]);
    expect([socket.ends, connection.inFlight]).toEqual([1, 1]);
    connection.fail(new OlError("protocol_violation", "ended"));
    expect(await call).toBe("protocol_violation: ended");
  });

  test("received() of an answer that comes twice ends it; the first counts", async () => {
    const { connection, ends } = connect();
    const call = outcome(connection.call(event("")));
    connection.received(result(1, "first"));
    connection.received(result(1, "second"));
    expect(await call).toBe("first");
    expect(ends.map((error) => error?.code)).toEqual(["protocol_violation"]);
  });

  test("received() of a result without its head rejects the call and ends it", async () => {
    const { connection, ends } = connect();
    const call = outcome(connection.call(event("")));
    connection.received(encodeFrame(FrameType.RESULT, 1, Buffer.from("abc")));
    expect(await call).toStartWith("protocol_violation: ");
    expect(ends.map((error) => error?.code)).toEqual(["protocol_violation"]);
  });

  test("received() hears nothing after the end, whatever comes", () => {
    const { connection, order } = connect();
    connection.received(Buffer.alloc(HEADER_BYTES, 0xff));
    connection.received(ready("{}"));
    connection.received(result(1, "x"));
    connection.closed();
    expect(order).toEqual(["end"]);
  });

  test("received() hears nothing of what comes in one piece with the end", () => {
    const { connection, order } = connect("loading");
    connection.received(Buffer.concat([text(FrameType.LOAD_FAILED, 0, "no"), ready("{}", "code")]));
    expect(order).toEqual(["end"]);
  });

  test("received() lets an error of the worker's own pass", () => {
    const failing = new GuestConnection(new FakeSocket(), {
      onReady: () => {
        throw new TypeError("a bug");
      },
      onEnd: () => {},
    });
    expect(() => {
      failing.received(ready("{}"));
    }).toThrow(TypeError);
  });

  test("whatever a guest sends, each call ends once and the end is told once", async () => {
    const anyFrame = fc
      .tuple(
        fc.integer({ min: FrameType.READY, max: FrameType.ENCLOSED }),
        fc.nat(6),
        fc.uint8Array({ maxLength: 12 }),
      )
      .map(([type, callId, payload]) => encodeFrame(type, callId, payload));
    const piece = fc.oneof(
      { weight: 4, arbitrary: fc.nat(6).map((id) => result(id, "r")) },
      { weight: 2, arbitrary: fc.constant(ready("{}")) },
      { weight: 2, arbitrary: anyFrame },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 12 }) },
    );
    const run = fc.asyncProperty(
      fc.array(piece, { maxLength: 12 }),
      fc.nat(5),
      fc.constantFrom("ready", "loading"),
      async (pieces, calls, phase) => {
        const { connection, ends } = connect(phase);
        let answers = 0;
        const waiting = Array.from({ length: calls }, async () => {
          await outcome(connection.call(event("")));
          answers += 1;
        });
        for (const bytes of pieces) connection.received(bytes);
        connection.closed();
        connection.fail(new OlError("sandbox_died", "gone"));
        await Promise.all(waiting);
        expect([ends.length, answers, connection.inFlight]).toEqual([1, calls, 0]);
      },
    );
    await fc.assert(run, { numRuns: 300 });
  });
});
