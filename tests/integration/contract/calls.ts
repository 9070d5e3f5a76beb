/** Calls that go well: part of the contract that every engine keeps. */

import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Bench, MIB, call, failure } from "./bench.ts";

/** Calls that go well. */
export function describeCalls(bench: Bench): void {
  test("call() returns what the handler returns, for every kind of JSON", async () => {
    const echo = await bench.make("def handler(event):\n    return event\n");
    for (const value of [
      null,
      true,
      0,
      -1.5,
      "",
      "Grüße \u{1f600}\u0000",
      [],
      [[{}]],
      { a: [1] },
    ]) {
      expect(await call(echo, value)).toEqual(value);
    }
    expect(await call(echo)).toBeNull();
    const large = "x".repeat(5 * MIB);
    expect(await call(echo, large)).toBe(large);
    await echo.destroy();
  });

  test("call() keeps the state of one instance between its calls", async () => {
    const code = "n = 0\ndef handler(event):\n    global n\n    n += 1\n    return n\n";
    const counter = await bench.make(code);
    expect(await call(counter)).toBe(1);
    expect(await call(counter)).toBe(2);
    await counter.destroy();
  });

  test("create() gives the lambda its environment and nothing else", async () => {
    const code = "import os\ndef handler(event):\n    return dict(os.environ)\n";
    const env = { COLOR: "blue", EMPTY: "" };
    expect(await bench.once(code, null, { env })).toEqual(env);
  });

  test("create() keeps what the lambda prints in the instance's files", async () => {
    const code =
      "import sys\ndef handler(event):\n    print('to out')\n    print('to err', file=sys.stderr)\n    print(sorted(open('/host/stdout')))\n";
    const sandbox = await bench.make(code);
    await call(sandbox);
    const dir = join(bench.engine.handlersDir, "contract", sandbox.id);
    await sandbox.destroy();
    expect(readFileSync(join(dir, "stdout"), "utf8")).toStartWith("to out\n");
    expect(readFileSync(join(dir, "stderr"), "utf8")).toBe("to err\n");
  });
  describePackages(bench);
}

const packageDirs = (...dirs: string[]) => dirs.map((dir) => ({ dir, modules: ["one"] }));

function describePackages(bench: Bench): void {
  test("create() puts packages on the path in their order", async () => {
    for (const [dir, version] of Object.entries({ "one-1": 1, "one-2": 2 })) {
      mkdirSync(join(bench.engine.packagesDir, dir), { recursive: true, mode: 0o755 });
      const file = join(bench.engine.packagesDir, dir, "one.py");
      writeFileSync(file, `VERSION = ${version}\n`, { mode: 0o644 });
    }
    const code = "import one\ndef handler(event):\n    return one.VERSION\n";
    expect(await bench.once(code, null, { packages: packageDirs("one-1", "one-2") })).toBe(1);
    expect(await bench.once(code, null, { packages: packageDirs("one-2") })).toBe(2);
    expect((await failure(bench.once(code))).code).toBe("lambda_load");
  });

  test("call() runs as many calls at once as the instance may have", async () => {
    const code =
      "import threading\nall_here = threading.Barrier(4)\ndef handler(event):\n    all_here.wait(10)\n    return event\n";
    const sandbox = await bench.make(code, { concurrency: 4 });
    const nonces = [11, 22, 33, 44];
    expect(await Promise.all(nonces.map((nonce) => call(sandbox, nonce)))).toEqual(nonces);
    await sandbox.destroy();
  });

  test("call() gives each of many instances its own answer", async () => {
    const code =
      "import os\ndef handler(event):\n    open('/tmp/n', 'a').write(str(event))\n    return [event, open('/tmp/n').read()]\n";
    const nonces = Array.from({ length: 8 }, (_, index) => index + 100);
    const answers = await Promise.all(nonces.map((nonce) => bench.once(code, nonce)));
    expect(answers).toEqual(nonces.map((nonce) => [nonce, String(nonce)]));
  });
}
