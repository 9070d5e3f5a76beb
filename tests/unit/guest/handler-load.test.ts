/** Loading a lambda in a real guest: what the worker is told when it works and when it does not. */

import { describe, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { tempDir } from "../../helpers/temp-dir.ts";
import { type PythonGuestOptions, PythonGuest } from "./python-guest.ts";
import { testPython } from "./python.ts";

const ECHO = "def handler(event):\n    return event\n";

/** Why a lambda could not be loaded, with the place of its file as `FILE`. */
async function loadError(
  code: string | Uint8Array | null,
  options: PythonGuestOptions = {},
): Promise<string> {
  await using guest = await PythonGuest.start(code, options);
  const answer = await guest.call();
  if (!("code" in answer)) throw new Error(`it was loaded: ${JSON.stringify(answer)}`);
  expect((await guest.ended)?.code).toBe(answer.code as "lambda_load");
  return `${answer.code}: ${answer.text.replaceAll(guest.handlerFile, "FILE")}`;
}

describe("a lambda without a handler", () => {
  testPython.each([
    ["that defines none", "x = 1\n", "lambda_func.py defines no function named handler(event)"],
    ["that is empty", "", "lambda_func.py defines no function named handler(event)"],
    [
      "whose handler is None",
      "handler = None\n",
      "lambda_func.py defines no function named handler(event)",
    ],
    ["whose handler is a number", "handler = 3\n", "handler in lambda_func.py is not a function"],
  ])("serve() tells of one %s in one sentence", async (_what, code, words) => {
    expect(await loadError(code)).toBe(`lambda_load: ${words}`);
  });
});

describe("a lambda that fails while it is loaded", () => {
  testPython.each([
    ["ValueError", "raise ValueError('early')\n", "ValueError: early"],
    ["KeyError", "{}['gone']\n", "KeyError: 'gone'"],
    ["LookupError", "raise LookupError('mine')\n", "LookupError: mine"],
    ["LookupError without words", "raise LookupError()\n", "LookupError"],
    [
      "ImportError",
      "import no_such_module\n",
      "ModuleNotFoundError: No module named 'no_such_module'",
    ],
    ["SystemExit", "import sys\nsys.exit(3)\n", "SystemExit: 3"],
    ["KeyboardInterrupt", "raise KeyboardInterrupt\n", "KeyboardInterrupt"],
    ["AssertionError", "assert False, 'no'\n", "AssertionError: no"],
  ])("serve() tells of %s with the lambda's frames only", async (_what, code, words) => {
    const told = await loadError(code);
    expect(told).toStartWith(
      'lambda_load: Traceback (most recent call last):\n  File "FILE", line ',
    );
    expect(told).toEndWith(words);
    expect(told).not.toContain("openlambda");
  });

  testPython.each([
    ["a syntax error", "def handler(event:\n", "SyntaxError: '(' was never closed"],
    ["a wrong indentation", "  x = 1\n", "IndentationError: unexpected indent"],
    ["bytes that are no UTF-8", Buffer.from("x = '\xff'\n", "latin1"), "SyntaxError: "],
    [
      "a coding that there is none of",
      "# coding: klingon\n",
      "SyntaxError: unknown encoding: klingon",
    ],
    ["a null byte", "x = 1\0\n", "cannot contain null bytes"],
  ])("serve() tells of %s and where it is", async (_what, code, words) => {
    const told = await loadError(code);
    expect(told).toContain(words);
    expect(told).not.toContain("openlambda");
    expect(told).not.toContain("Traceback");
  });

  testPython("serve() tells of a lambda without its file", async () => {
    const wanted = "FileNotFoundError: [Errno 2] No such file or directory: 'FILE'";
    expect(await loadError(null)).toBe(`lambda_load: ${wanted}`);
  });

  testPython("serve() tells of code that is no code", async () => {
    const told = await loadError(ECHO, { compiled: Buffer.from("garbage") });
    expect(told).toStartWith("lambda_load: ");
    expect(told).not.toContain("openlambda");
  });

  testPython("serve() keeps what was printed before", async () => {
    await using guest = await PythonGuest.start("print('so far', end='')\nraise ValueError\n");
    await guest.ended;
    expect(guest.stdout).toBe("so far");
  });

  testPython("serve() tells of a LookupError in code that calls itself the guest's", async () => {
    const code = "exec(compile('raise LookupError()', '<openlambda>/x.py', 'exec'))\n";
    expect(await loadError(code)).toEndWith("LookupError");
  });
});

describe("a lambda that is loaded", () => {
  testPython(
    "serve() says so unasked, with the code that it compiled, which serves the next",
    async () => {
      await using first = await PythonGuest.start(ECHO);
      const { code, importUs } = await first.ready;
      expect(code.byteLength).toBeGreaterThan(20);
      expect(importUs).toBeGreaterThan(0);
      await using second = await PythonGuest.start("raise ValueError('not read')\n", {
        compiled: code,
      });
      expect(await second.call('"again"')).toEqual({ value: "again" });
      expect((await second.ready).code.byteLength).toBe(0);
    },
  );

  testPython("serve() says so also where a call was sent right behind the lambda", async () => {
    await using guest = await PythonGuest.start(ECHO);
    expect(await guest.call("1")).toEqual({ value: 1 });
    expect((await guest.ready).code.byteLength).toBeGreaterThan(20);
  });

  testPython(
    "load() gives it a module of its own name, its file and nothing of the guest's",
    async () => {
      const code = `
import sys
def handler(event):
    guests = [name for name in ("handler", "wire", "kernel", "zygote") if name in sys.modules]
    main = sorted(name for name in vars(sys.modules["__main__"]) if not name.startswith("_"))
    return [__name__, sys.modules["lambda_func"].handler is handler, __file__, sys.argv, guests, "handler" in main]
`;
      await using guest = await PythonGuest.start(code);
      const file = guest.handlerFile;
      expect(await guest.call()).toEqual({ value: ["lambda_func", true, file, [file], [], false] });
    },
  );

  testPython("load() lets it import modules of its own, also of the guest's names", async () => {
    const files = {
      "wire.py": "NAME = 'my wire'\n",
      "handler.py": "NAME = 'my handler'\n",
      "json2.py": "import json\nNAME = json.dumps({})\n",
    };
    const code =
      "import handler as h, wire, json2\ndef handler(event):\n    return [h.NAME, wire.NAME, json2.NAME]\n";
    await using guest = await PythonGuest.start(code, { files });
    expect(await guest.call()).toEqual({ value: ["my handler", "my wire", "{}"] });
  });

  testPython(
    "prepare() gives it its environment and nothing else, and packages behind the library",
    async () => {
      using packages = tempDir();
      writeFileSync(packages.join("one.py"), "NAME = 'one'\n");
      writeFileSync(packages.join("json.py"), "raise ValueError('shadows the library')\n");
      const code = `
import json, one, os, sys
def handler(event):
    return [dict(os.environ), one.NAME, sys.path[0] == os.path.dirname(__file__), sys.path[-1]]
`;
      const env = { COLOR: "blue", EMPTY: "", UMLAUT: "ü" };
      await using guest = await PythonGuest.start(code, { env, packages: [packages.path] });
      expect(await guest.call()).toEqual({ value: [env, "one", true, packages.path] });
    },
  );
});

describe("the connection", () => {
  testPython("main_connect() ends cleanly when the worker hangs up", async () => {
    await using guest = await PythonGuest.start(ECHO);
    await guest.call();
    expect(await guest.hangUp()).toBe(0);
    expect(guest.stderr).toBe("");
  });

  testPython(
    "main_connect() ends cleanly when the worker hangs up after a failed load",
    async () => {
      await using guest = await PythonGuest.start("handler = 3\n");
      await guest.ended;
      expect(await guest.hangUp()).toBe(0);
      expect(guest.stderr).toBe("");
    },
  );

  testPython("serve() takes every call whatever the pieces in which it comes", async () => {
    await using guest = await PythonGuest.start(ECHO, { writesBytewise: true });
    expect(await guest.call('"in pieces"')).toEqual({ value: "in pieces" });
    expect(await guest.call('"again"')).toEqual({ value: "again" });
  });
});
