/** Events in and results out of a real guest: what JSON holds, what it does not, and the bounds. */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { FRAME_MAX_BYTES } from "../../../src/common/limits.ts";
import { type Answer, PythonGuest } from "./python-guest.ts";
import { testPython } from "./python.ts";

/** Returns what it was given, or what the function of that name in it returns. */
const CODE = `
import functools, time

def not_a_number(): return float("nan")
def infinite(): return [float("-inf")]
def some_bytes(): return b"bytes"
def a_set(): return {1}
def an_object(): return object()
def a_generator(): return (x for x in [1])
def a_tuple(): return (1, (2,))
def odd_keys(): return {1: "a", None: "b", 2.5: "c"}
def impossible_keys(): return {(1, 2): 3}
def surrogate(): return "\\ud800"
def many_digits(): return 10 ** 5000
def cyclic():
    value = []
    value.append(value)
    return value
def deep():
    value = []
    for _ in range(100_000): value = [value]
    return value
def too_large(): return "x" * (64 * 1024 * 1024)
def just_fits(): return "x" * (64 * 1024 * 1024 - 4 - 2)
def other_clock():
    real, time.perf_counter_ns = time.perf_counter_ns, lambda: 0
    return "done"
class Hostile(Exception):
    def __str__(self): raise SystemExit(3)
class Items(dict):
    def items(self): raise Hostile()
def hostile_items(): return Items(a=1)
async def coroutine(): return 1

def log(function):
    @functools.wraps(function)
    def wrapper(event): return function(event)
    return wrapper

@log
@log
def handler(event):
    if isinstance(event, dict) and "run" in event: return globals()[event["run"]]()
    return event
`;

const invalid = (words: string): Answer => ({
  code: "lambda_result_invalid",
  text: `handler returned what JSON cannot hold: ${words}`,
});

let guest: PythonGuest;
beforeAll(async () => {
  guest = await PythonGuest.start(CODE);
});
afterAll(async () => {
  await guest[Symbol.asyncDispose]();
});
const run = (name: string) => guest.call(JSON.stringify({ run: name }));

describe("events", () => {
  testPython.each([
    ["null", null],
    ["true", true],
    ["-0.5", -0.5],
    [' [1, {"a": []}] ', [1, { a: [] }]],
    ['"ü \u{1f600} \\u0000"', "ü \u{1f600} \0"],
    ["\ufeff[]", []],
    ["9".repeat(4_000), Number("9".repeat(4_000))],
  ])("_answer() gives the handler the event %s as it is", async (event, value) => {
    expect(await guest.call(event)).toEqual({ value });
  });

  testPython("_answer() gives None where there is no event", async () => {
    expect(await guest.call("")).toEqual({ value: null });
  });

  testPython.each([
    ["half of a list", "[1", "Expecting ',' delimiter"],
    ["two values", "1 2", "Extra data"],
    ["blanks only", "  ", "Expecting value"],
    ["single quotes", "{'a': 1}", "Expecting property name"],
    ["a line feed in a string", '"a\nb"', "Invalid control character"],
    ["a number that is too long", "9".repeat(5_000), "Exceeds the limit"],
    ["too many brackets", "[".repeat(200_000), "recursion"],
    ["bytes that are no UTF-8", Buffer.from([0x22, 0xff, 0x22]), "can't decode byte 0xff"],
    ["half of a character", Buffer.from([0x22, 0xe2, 0x82]), "can't decode byte"],
  ])("_answer() refuses %s and goes on", async (_what, event, words) => {
    const answer = await guest.call(event);
    expect(answer).toMatchObject({ code: "bad_request" });
    expect("text" in answer && answer.text).toStartWith("bad POST data: ");
    expect("text" in answer && answer.text).toContain(words);
    expect(await guest.call("1")).toEqual({ value: 1 });
  });

  testPython.each([
    ["NaN", "NaN"],
    ["Infinity in a list", "[-Infinity]"],
    ["UTF-16", Buffer.from("[1]", "utf16le")],
    ["half of a surrogate pair in bytes", Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
  ])("_answer() refuses %s, which is no JSON", async (_what, event) => {
    expect(await guest.call(event)).toMatchObject({ code: "bad_request" });
  });
});

describe("results", () => {
  testPython.each([
    ["a_tuple", [1, [2]]],
    ["odd_keys", { "1": "a", null: "b", "2.5": "c" }],
    ["surrogate", "\ud800"],
  ])("_answer() returns %s as JSON", async (name, value) => {
    expect(await run(name)).toEqual({ value });
  });

  testPython.each([
    ["not_a_number", "ValueError: Out of range float values are not JSON compliant"],
    ["infinite", "ValueError: Out of range float values are not JSON compliant"],
    ["some_bytes", "TypeError: Object of type bytes is not JSON serializable"],
    ["a_set", "TypeError: Object of type set is not JSON serializable"],
    ["an_object", "TypeError: Object of type object is not JSON serializable"],
    ["a_generator", "TypeError: Object of type generator is not JSON serializable"],
    ["coroutine", "TypeError: Object of type coroutine is not JSON serializable"],
    ["impossible_keys", "TypeError: keys must be str, int, float, bool or None, not tuple"],
    ["cyclic", "ValueError: Circular reference detected"],
  ])("_answer() refuses %s and says why", async (name, words) => {
    expect(await run(name)).toEqual(invalid(words));
  });

  testPython.each([
    ["deep", "RecursionError"],
    ["many_digits", "ValueError: Exceeds the limit"],
  ])("_answer() refuses %s and goes on", async (name, words) => {
    const answer = await run(name);
    expect(answer).toMatchObject({ code: "lambda_result_invalid" });
    expect("text" in answer && answer.text).toContain(words);
    expect(await guest.call("1")).toEqual({ value: 1 });
  });

  testPython(
    "_answer() refuses a result that is larger than a frame, and not one that just fits",
    async () => {
      expect(await run("too_large")).toEqual({
        code: "lambda_result_invalid",
        text: `handler returned ${FRAME_MAX_BYTES + 2} bytes of JSON, at most ${FRAME_MAX_BYTES - 4} are allowed`,
      });
      const largest = await run("just_fits");
      expect("value" in largest && (largest.value as string).length).toBe(FRAME_MAX_BYTES - 6);
    },
  );

  testPython("_answer() survives a result whose error cannot be printed", async () => {
    await using own = await PythonGuest.start(CODE);
    expect(await own.call('{"run": "hostile_items"}')).toEqual(invalid("Hostile"));
    expect(await own.call("1")).toEqual({ value: 1 });
  });

  testPython("_answer() survives a handler that puts another clock in place", async () => {
    await using own = await PythonGuest.start(CODE);
    expect(await own.call('{"run": "other_clock"}')).toEqual({ value: "done" });
    expect(await own.call("1")).toEqual({ value: 1 });
  });
});

describe("handlers", () => {
  testPython("a class as handler is called, and what it makes is no JSON", async () => {
    await using own = await PythonGuest.start(
      "class handler:\n    def __init__(self, event): pass\n",
    );
    expect(await own.call()).toEqual(
      invalid("TypeError: Object of type handler is not JSON serializable"),
    );
  });

  testPython("an async handler is not awaited: its caller is told of the coroutine", async () => {
    await using own = await PythonGuest.start("async def handler(event):\n    return 1\n");
    const words = "TypeError: Object of type coroutine is not JSON serializable";
    expect(await own.call()).toEqual(invalid(words));
    expect(await own.call()).toEqual(invalid(words));
  });

  testPython("a handler with another number of parameters is told so at each call", async () => {
    await using own = await PythonGuest.start("def handler():\n    return 1\n");
    const answer = await own.call();
    expect(answer).toEqual({
      code: "lambda_exception",
      text: "TypeError: handler() takes 0 positional arguments but 1 was given",
    });
  });

  testPython("any callable is a handler: a lambda, a partial, an object", async () => {
    const code = `
import functools
class Callable:
    def __call__(self, event): return ["called", event]
handler = functools.partial(lambda call, event: call(event), Callable())
`;
    await using own = await PythonGuest.start(code);
    expect(await own.call("1")).toEqual({ value: ["called", 1] });
  });
});
