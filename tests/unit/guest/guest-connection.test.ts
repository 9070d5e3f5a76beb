/** The worker's end of one guest, over a socket that takes and brings what the test decides. */

import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { OlError } from "../../../src/common/errors.ts";
import { GUEST_MESSAGE_MAX_CHARS } from "../../../src/common/limits.ts";
import { encodeFrame, FrameType } from "../../../src/guest/wire.ts";
import { connect, event, outcome, result, text } from "./fake-socket.ts";

describe("sending", () => {
  test("call() numbers its frames from 1 and passes the event on as it is", () => {
    const { connection, socket } = connect();
    void outcome(connection.call(event("{ no JSON")));
    void outcome(connection.call(event("")));
    const wanted = [
      encodeFrame(FrameType.CALL, 1, event("{ no JSON")),
      encodeFrame(FrameType.CALL, 2, event("")),
    ];
    expect(socket.sent).toEqual(Buffer.concat(wanted));
    expect(connection.inFlight).toBe(2);
  });

  test("send() keeps the order however little the socket takes at a time", () => {
    // A socket may have room again before it says so.
    const step = fc.oneof(
      fc.record({ send: fc.uint8Array({ minLength: 1, maxLength: 30 }) }),
      fc.record({ room: fc.integer({ min: -1, max: 40 }), isTold: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { connection, socket } = connect();
        socket.room = 0;
        const wanted: Uint8Array[] = [];
        for (const one of steps) {
          if ("send" in one) {
            wanted.push(one.send);
            connection.send(one.send);
          } else {
            socket.room = one.room;
            if (one.isTold) connection.writable();
          }
        }
        socket.room = Number.POSITIVE_INFINITY;
        connection.writable();
        expect(socket.sent).toEqual(Buffer.concat(wanted));
      }),
      { numRuns: 300 },
    );
  });

  test("writable() sends what waits once and then nothing more", () => {
    const { connection, socket } = connect();
    socket.room = 3;
    connection.send(event("abcdef"));
    expect(socket.sent.toString()).toBe("abc");
    socket.room = 100;
    connection.writable();
    connection.writable();
    expect(socket.sent.toString()).toBe("abcdef");
  });

  test("send() is silent once the stream has ended, also for what waited", () => {
    const { connection, socket } = connect();
    socket.room = 1;
    connection.send(event("abc"));
    connection.closed();
    socket.room = 100;
    connection.send(event("def"));
    connection.writable();
    expect(socket.sent.toString()).toBe("a");
  });
});

describe("answers", () => {
  test("call() gets its own answer whatever the order of answers", async () => {
    const { connection } = connect();
    const calls = ["a", "b", "c"].map((name) => outcome(connection.call(event(name))));
    for (const id of [3, 1, 2]) connection.received(result(id, `answer ${id}`));
    expect(await Promise.all(calls)).toEqual(["answer 1", "answer 2", "answer 3"]);
    expect(connection.inFlight).toBe(0);
  });

  test("call() is told the guest's time and gets an empty body too", async () => {
    const { connection } = connect();
    const call = connection.call(event(""));
    connection.received(result(1, "", 0xffff_ffff));
    expect(await call).toEqual({ body: Buffer.alloc(0), handlerUs: 0xffff_ffff });
  });

  test.each([
    [FrameType.EXCEPTION, "Traceback\nError: no\n\n", "lambda_exception: Traceback\nError: no"],
    [FrameType.RESULT_INVALID, "no JSON", "lambda_result_invalid: no JSON"],
    [FrameType.BAD_EVENT, "line 1", "bad_request: bad POST data: line 1"],
    [FrameType.EXCEPTION, "\xff\xfe", "lambda_exception: ÿþ"],
    [FrameType.EXCEPTION, "", "lambda_exception: "],
  ])(
    "call() is rejected by a frame of type %i and the guest goes on",
    async (type, words, told) => {
      const { connection, ends } = connect();
      const failing = outcome(connection.call(event("")));
      connection.received(text(type, 1, words));
      expect(await failing).toBe(told);
      const next = outcome(connection.call(event("")));
      connection.received(result(2, "fine"));
      expect(await next).toBe("fine");
      expect(ends).toEqual([]);
    },
  );

  test("call() is told no more than the bound of what a guest says", async () => {
    for (const type of [FrameType.EXCEPTION, FrameType.RESULT_INVALID, FrameType.BAD_EVENT]) {
      const { connection } = connect();
      const call = outcome(connection.call(event("")));
      connection.received(text(type, 1, "€".repeat(2 * GUEST_MESSAGE_MAX_CHARS)));
      const words = (await call).replace(/^[^€]*/, "");
      expect(words.length).toBeLessThanOrEqual(GUEST_MESSAGE_MAX_CHARS);
      expect(words.slice(0, 100)).toBe("€".repeat(100));
    }
  });

  test("call() replaces bytes that are no UTF-8", async () => {
    const { connection } = connect();
    const call = outcome(connection.call(event("")));
    connection.received(encodeFrame(FrameType.EXCEPTION, 1, Buffer.from([0x61, 0xff, 0x62])));
    expect(await call).toBe("lambda_exception: a\ufffdb");
  });
});

describe("the end", () => {
  test("closed() is told once, without an error, and ends the socket", () => {
    const { connection, ends, socket } = connect();
    connection.closed();
    connection.closed();
    expect([ends, socket.ends]).toEqual([[null], 1]);
  });

  test("fail() rejects every call that waits, once, and none that comes later", async () => {
    const { connection, ends } = connect();
    const waiting = [1, 2, 3].map(() => outcome(connection.call(event(""))));
    connection.fail(new OlError("sandbox_died", "gone"));
    connection.fail(new OlError("runtime_exceeded", "too late"));
    expect(await Promise.all(waiting)).toEqual(Array(3).fill("sandbox_died: gone"));
    expect([connection.inFlight, ends]).toEqual([0, []]);
    const later = outcome(connection.call(event("")));
    connection.received(result(4, "fine"));
    expect(await later).toBe("fine");
  });

  test("a call answered after fail() was told so ends the guest: its place is gone", async () => {
    const { connection, ends } = connect();
    const call = outcome(connection.call(event("")));
    connection.fail(new OlError("runtime_exceeded", "too slow"));
    connection.received(result(1, "late"));
    expect(await call).toBe("runtime_exceeded: too slow");
    expect(ends.map((error) => error?.code)).toEqual(["protocol_violation"]);
  });
});
