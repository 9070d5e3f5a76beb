/** `max_runners` above 1: calls side by side in one real guest, each with an answer of its own. */

import { describe, expect } from "bun:test";
import { waitFor } from "../../helpers/wait-for.ts";
import { PythonGuest } from "./python-guest.ts";
import { testPython } from "./python.ts";

describe("a guest with max_runners above 1", () => {
  testPython("runs as many calls at once as it is given", async () => {
    const code = `
import threading
all_here = threading.Barrier(4)
def handler(event):
    all_here.wait(30)
    return event
`;
    await using guest = await PythonGuest.start(code, { concurrency: 4 });
    const events = [1, 2, 3, 4];
    const answers = await Promise.all(events.map((event) => guest.call(String(event))));
    expect(answers).toEqual(events.map((value) => ({ value })));
  });

  testPython(
    "answers in the order in which calls end, and tells each what is its own",
    async () => {
      const code = `
import threading
go = {name: threading.Event() for name in ("a", "b")}
def handler(event):
    if event in go: go[event].wait(30)
    else: go[event.split()[1]].set()
    return event
`;
      await using guest = await PythonGuest.start(code, { concurrency: 3 });
      const [a, b] = [guest.call('"a"'), guest.call('"b"')];
      for (const [name, call] of [
        ["b", b],
        ["a", a],
      ] as const) {
        expect(await guest.call(JSON.stringify(`release ${name}`))).toEqual({
          value: `release ${name}`,
        });
        expect(await call).toEqual({ value: name });
      }
    },
  );

  testPython("does not mix large answers of many threads", async () => {
    const code = "def handler(event):\n    return str(event) * 200_000\n";
    await using guest = await PythonGuest.start(code, { concurrency: 8 });
    const digits = [1, 2, 3, 4, 5, 6, 7, 8];
    const answers = await Promise.all(digits.map((digit) => guest.call(String(digit))));
    expect(answers).toEqual(digits.map((digit) => ({ value: String(digit).repeat(200_000) })));
  });

  testPython.each([
    ["an error", "raise ValueError('no')", "lambda_exception"],
    ["SystemExit", "raise SystemExit(3)", "lambda_exception"],
    ["a result that is no JSON", "return {1}", "lambda_result_invalid"],
  ])("tells %s to the call whose it is", async (_what, statement, code) => {
    const text = `def handler(event):\n    if event == 1: return 1\n    ${statement}\n`;
    await using guest = await PythonGuest.start(text, { concurrency: 2 });
    const [failed, fine] = await Promise.all([guest.call("0"), guest.call("1")]);
    expect([failed, fine]).toEqual([expect.objectContaining({ code }), { value: 1 }]);
    expect(await guest.call("1")).toEqual({ value: 1 });
  });

  testPython("tells of bad events and goes on", async () => {
    await using guest = await PythonGuest.start("def handler(event):\n    return event\n", {
      concurrency: 2,
    });
    expect(await guest.call("{")).toMatchObject({ code: "bad_request" });
    expect(await guest.call("1")).toEqual({ value: 1 });
  });

  testPython("says that it is loaded before its first call", async () => {
    await using guest = await PythonGuest.start("def handler(event):\n    return event\n", {
      concurrency: 2,
    });
    expect((await guest.ready).code.byteLength).toBeGreaterThan(20);
  });

  testPython("ends when the worker hangs up, also with a call that does not", async () => {
    const code = `
import sys, threading
def handler(event):
    print("runs")
    threading.Event().wait()
`;
    await using guest = await PythonGuest.start(code, { concurrency: 2 });
    const call = guest.call();
    await guest.printed("runs\n");
    await guest.ready;
    expect(await guest.hangUp()).toBe(0);
    expect(await call).toMatchObject({ code: "sandbox_died" });
  });

  testPython("answers also the call whose error cannot be printed", async () => {
    const code = `
class Hostile(Exception):
    def __str__(self): raise ValueError("no words")
class Items(dict):
    def items(self): raise Hostile()
def handler(event): return Items(a=1)
`;
    await using guest = await PythonGuest.start(code, { concurrency: 2 });
    // A thread that ends without an answer says so on stderr, which would be all that ever comes.
    const complaint = waitFor(() => guest.stderr !== "", "a complaint").catch(() => null);
    expect(await Promise.race([guest.call(), complaint])).toMatchObject({
      code: "lambda_result_invalid",
    });
  });
});
