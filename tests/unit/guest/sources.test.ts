/** The texts that a guest is started with: complete, importable, and gone before a lambda comes. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  connectingProgram,
  GUEST_SOURCES_FD,
  ZYGOTE_PROGRAM,
  zygoteStart,
} from "../../../src/guest/sources.ts";
import { runPython, testPython } from "./python.ts";

const GUEST_DIR = join(import.meta.dir, "../../../src/guest");
const FILTERS = {
  early: Uint8Array.from([0, 1, 0xff]),
  late: new Uint8Array(0),
  zygote: Uint8Array.from([16]),
};

interface Start {
  readonly bootstrap: string;
  readonly sources: Readonly<Record<string, string>>;
  readonly filters: Readonly<Record<string, string>>;
}

describe("zygoteStart()", () => {
  const start = JSON.parse(zygoteStart(FILTERS)) as Start;

  test("holds every Python file of the guest as it is", () => {
    const names = readdirSync(GUEST_DIR).filter((name) => name.endsWith(".py"));
    const held = { ...start.sources, bootstrap: start.bootstrap };
    expect(Object.keys(held).toSorted()).toEqual(names.map((name) => name.slice(0, -3)).toSorted());
    for (const [name, text] of Object.entries(held)) {
      expect(text).toBe(readFileSync(join(GUEST_DIR, `${name}.py`), "utf8"));
    }
  });

  test("holds the filters as hex", () => {
    expect(start.filters).toEqual({ early: "0001ff", late: "", zygote: "10" });
  });

  testPython("is found by the first statements of the root zygote", async () => {
    const program = `
import json, os
start, main = json.load(sys.stdin)
# As much of a zygote as can be seen without its rights.
start["sources"]["zygote"] = "import sys\\ndef main(*found):\\n    sys.found = found\\n"
file = os.memfd_create("start")
os.write(file, json.dumps(start).encode())
os.lseek(file, 0, os.SEEK_SET)
os.dup2(file, ${GUEST_SOURCES_FD})
exec(main, {"__name__": "__main__"})
control, filters = sys.found
print(json.dumps([control, {name: program.hex() for name, program in filters.items()}, "zygote" in sys.modules]))`;
    const small = { ...start, sources: { zygote: "" } };
    const input = JSON.stringify([small, ZYGOTE_PROGRAM]);
    expect(await runPython(program, input)).toEqual([3, start.filters, false]);
  });
});

describe("bootstrap.py", () => {
  testPython("finds the guest's modules while it starts and none of them later", async () => {
    const program = `
import json
start = json.load(sys.stdin)
sys.path.pop(0)
exec(compile(start["bootstrap"], "<openlambda>/bootstrap.py", "exec"))
before = list(sys.meta_path)
finder = install(start["sources"])
import one
file, spec = one.read.__code__.co_filename, one.__spec__.origin
finish(finder)
def missing(name):
    try:
        __import__(name)
        return False
    except ImportError:
        return True
print(json.dumps([one.read(), file, spec, missing("one"), missing("two"), before == sys.meta_path]))`;
    const sources = {
      one: "import two\ndef read():\n    return two.VALUE\n",
      two: "VALUE = 2\n",
    };
    const { bootstrap } = JSON.parse(zygoteStart(FILTERS)) as Start;
    const mark = "<openlambda>/one.py";
    expect(await runPython(program, JSON.stringify({ bootstrap, sources }))).toEqual([
      2,
      mark,
      mark,
      true,
      true,
      true,
    ]);
  });
});

describe("connectingProgram()", () => {
  testPython("is Python whatever the path", async () => {
    const program = `
import ast, json
calls = []
for text in json.load(sys.stdin):
    last = ast.parse(text).body[-1].value
    calls.append([ast.unparse(last.func), last.args[0].value])
print(json.dumps(calls))`;
    const paths = ["/run/openlambda.sock", "/tmp/a \"quoted\" 'path'\\n", "/tmp/ü\u2028\u{1f600}"];
    const programs = paths.map((path) => connectingProgram(path));
    expect(await runPython(program, JSON.stringify(programs))).toEqual(
      paths.map((path) => ["_handler.main_connect", path]),
    );
  });

  test("holds nothing but what connecting needs", () => {
    const text = connectingProgram("/run/socket");
    expect(text).toContain("_BoundedOutput");
    expect(text).not.toContain("unshare");
  });
});
