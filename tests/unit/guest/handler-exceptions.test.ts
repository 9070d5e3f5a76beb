/** What a caller is told when a handler raises, and that the guest lives on whatever was raised. */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { GUEST_MESSAGE_MAX_CHARS } from "../../../src/common/limits.ts";
import { PythonGuest } from "./python-guest.ts";
import { testPython } from "./python.ts";

/** Each function raises in its own way; `handler` is on line 2, so that frames can be told. */
const CODE = `
def handler(event): return globals()[event]()

import sys

def inner(): raise ValueError("no luck")
def plain(): inner()
def leave(): sys.exit("bye")
def interrupt(): raise KeyboardInterrupt
def close(): raise GeneratorExit
def memory(): raise MemoryError
def base(): raise BaseException("base")
def recurse(): recurse()
def chained():
    try:
        inner()
    except ValueError as error:
        raise KeyError("outer") from error
def during():
    try:
        inner()
    except ValueError:
        {}["gone"]
def silenced():
    try:
        inner()
    except ValueError:
        raise KeyError("outer") from None
def cycle():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first
def unicode(): raise ValueError("ü \\ud800 \\0 \\x1b[31m")
def long(): raise ValueError("start" + "x" * 100_000 + "end")
def long_euros(): raise ValueError("start" + "€" * 100_000 + "end")

class HostileStr(Exception):
    def __str__(self): raise SystemExit(3)
class HostileRepr(Exception):
    def __repr__(self): raise SystemExit(3)
class HostileBool(Exception):
    def __bool__(self): raise SystemExit(3)
class Empty(Exception):
    def __len__(self): return 0
class HostileTrace(Exception):
    __traceback__ = property(lambda self: 1 / 0)
class Meta(type):
    __name__ = property(lambda self: 1 / 0)
class HostileName(Exception, metaclass=Meta): pass

def hostile_str(): raise HostileStr
def hostile_repr(): raise HostileRepr(HostileRepr())
def from_cause(cause):
    try:
        raise cause
    except Exception as error:
        raise ValueError("outer") from error
def hostile_bool(): from_cause(HostileBool("cause"))
def empty(): from_cause(Empty("cause"))
def hostile_trace(): raise HostileTrace
def hostile_name(): raise HostileName
def broken_print(): sys.stdout.buffer.raw.write(3)
def bad_input(): raise LookupError("handler in lambda_func.py is not a function")
`;

let guest: PythonGuest;
beforeAll(async () => {
  guest = await PythonGuest.start(CODE);
});
afterAll(async () => {
  await guest[Symbol.asyncDispose]();
});

/** What the caller of that function is told, with the place of the lambda's file as `FILE`. */
async function told(name: string, asked: PythonGuest = guest): Promise<string> {
  const answer = await asked.call(JSON.stringify(name));
  if (!("code" in answer)) throw new Error(`it returned ${JSON.stringify(answer)}`);
  expect([name, answer.code]).toEqual([name, "lambda_exception"]);
  return answer.text.replaceAll(asked.handlerFile, "FILE");
}

/** As `told`, with a guest of its own, which must then answer again. */
async function survived(name: string): Promise<string> {
  await using own = await PythonGuest.start(CODE);
  const words = await told(name, own);
  expect(await told("plain", own)).toEndWith("ValueError: no luck");
  return words;
}

describe("describe()", () => {
  testPython("shows the lambda's frames, the outermost first, and no other", async () => {
    const frames = [...(await told("plain")).matchAll(/File "(\S+)", line \d+, in (\w+)/g)];
    const wanted = ["handler", "plain", "inner"].map((name) => ["FILE", name]);
    expect(frames.map(([, file, name]) => [file, name])).toEqual(wanted);
    expect(await told("plain")).toStartWith("Traceback (most recent call last):\n");
    expect(await told("plain")).toEndWith("ValueError: no luck");
  });

  testPython.each([
    ["leave", "SystemExit: bye"],
    ["interrupt", "KeyboardInterrupt"],
    ["close", "GeneratorExit"],
    ["memory", "MemoryError"],
    ["base", "BaseException: base"],
    ["bad_input", "LookupError: handler in lambda_func.py is not a function"],
    ["hostile_str", "HostileStr: <exception str() failed>"],
  ])("_answer() tells of %s and goes on", async (name, words) => {
    expect(await told(name)).toEndWith(words);
    expect(await told("plain")).toEndWith("ValueError: no luck");
  });

  testPython("shows causes and contexts as Python does, without the guest's frames", async () => {
    const cause = "The above exception was the direct cause of the following exception";
    const context = "During handling of the above exception, another exception occurred";
    expect(await told("chained")).toContain(cause);
    expect(await told("chained")).toContain("ValueError: no luck");
    expect(await told("during")).toContain(context);
    expect(await told("silenced")).not.toContain("no luck");
    for (const name of ["chained", "during", "silenced", "cycle", "empty"]) {
      expect(await told(name)).not.toContain("openlambda");
    }
  });

  testPython("ends with the error where an exception is its own cause", async () => {
    expect(await told("cycle")).toContain("ValueError: first");
  });

  testPython("shortens what recursed without end", async () => {
    const words = await told("recurse");
    expect(words).toContain("RecursionError");
    expect(words.length).toBeLessThan(2_000);
  });

  testPython("keeps the end of what is too long", async () => {
    const words = await told("long");
    expect(words.length).toBe(GUEST_MESSAGE_MAX_CHARS - 1);
    expect(words).toEndWith("xend");
  });

  testPython("keeps the end of what is too long also where it is not ASCII", async () => {
    const words = await told("long_euros");
    expect(words.length).toBeLessThanOrEqual(GUEST_MESSAGE_MAX_CHARS);
    expect(words).toEndWith("€end");
  });

  testPython("shows what UTF-8 cannot hold as escapes", async () => {
    expect(await told("unicode")).toEndWith("ValueError: ü \\ud800 \0 \x1b[31m");
  });
});

describe("hostile exceptions", () => {
  testPython("a __repr__ that exits does not end the guest", async () => {
    expect(await survived("hostile_repr")).toContain("HostileRepr");
  });

  testPython("a __bool__ that exits does not end the guest", async () => {
    expect(await survived("hostile_bool")).toStartWith("ValueError");
  });

  testPython("a __traceback__ that raises does not end the guest", async () => {
    expect(await survived("hostile_trace")).toContain("HostileTrace");
  });

  testPython("a class whose name raises does not end the guest", async () => {
    expect(await survived("hostile_name")).toContain("HostileName");
  });

  testPython("an error inside the guest's own streams shows no frame of the guest", async () => {
    const words = await survived("broken_print");
    expect(words).toContain("TypeError");
    expect(words).not.toContain("openlambda");
  });
});
