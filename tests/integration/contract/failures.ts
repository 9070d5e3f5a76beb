/** Calls that fail: part of the contract that every engine keeps. */

import { expect, test } from "bun:test";
import { type Bench, DEADLINE_MS, call, failure } from "./bench.ts";

/** Calls that fail. */
export function describeFailures(bench: Bench): void {
  test("call() reports an exception with the lambda's own frames only", async () => {
    const code =
      "def inner():\n    raise ValueError('no luck')\ndef handler(event):\n    inner()\n";
    const sandbox = await bench.make(code);
    const error = await failure(call(sandbox));
    expect(error.code).toBe("lambda_exception");
    expect(error.message).toContain("ValueError: no luck");
    expect(error.message).toContain('File "/handler/lambda_func.py", line 2, in inner');
    expect(error.message).not.toContain("openlambda");
    expect(sandbox.state).toBe("ready");
    await sandbox.destroy();
  });

  test("call() refuses events and results that are no JSON and goes on", async () => {
    const code = "def handler(event):\n    return float('nan') if event else {1, 2}\n";
    const sandbox = await bench.make(code);
    const broken = sandbox.call(new TextEncoder().encode("{nope"), DEADLINE_MS);
    expect((await failure(broken)).code).toBe("bad_request");
    expect((await failure(call(sandbox, 0))).code).toBe("lambda_result_invalid");
    expect((await failure(call(sandbox, 1))).code).toBe("lambda_result_invalid");
    await sandbox.destroy();
  });

  for (const [what, code, words] of [
    ["has a syntax error", "def handler(event:\n", "SyntaxError"],
    ["has no handler", "def other(event):\n    pass\n", "handler"],
    ["has a handler that is no function", "handler = 3\n", "handler"],
    ["raises at import", "raise RuntimeError('early')\n", "RuntimeError: early"],
    ["leaves at import", "import sys\nsys.exit(3)\n", "SystemExit"],
  ] as const) {
    test(`call() reports a lambda that ${what}`, async () => {
      const sandbox = await bench.make(code);
      const error = await failure(call(sandbox));
      expect(error.code).toBe("lambda_load");
      expect(error.message).toContain(words);
      expect((await sandbox.gone).code).toBe("lambda_load");
      await sandbox.destroy();
    });
  }
  describeDeaths(bench);
}

function describeDeaths(bench: Bench): void {
  for (const [what, statement, words] of [
    ["exits", "os._exit(7)", "7"],
    ["crashes", "os.kill(os.getpid(), 11)\n    import ctypes; ctypes.string_at(0)", "SIGSEGV"],
  ] as const) {
    test(`call() reports a process that ${what}`, async () => {
      const sandbox = await bench.make(`import os\ndef handler(event):\n    ${statement}\n`);
      const error = await failure(call(sandbox));
      expect(error.code).toBe("sandbox_died");
      expect(error.message).toContain(words);
      expect(sandbox.state).toBe("destroyed");
      expect((await failure(call(sandbox))).code).toBe("sandbox_died");
      await sandbox.destroy();
    });
  }

  test("call() ends a guest that speaks garbage on its socket", async () => {
    const code = `
import os, stat
def handler(event):
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.write(int(name), b"\\xff" * 64)
        except OSError:
            pass
    return "sent"
`;
    const sandbox = await bench.make(code);
    expect((await failure(call(sandbox))).code).toBe("protocol_violation");
    expect((await sandbox.gone).code).toBe("protocol_violation");
    await sandbox.destroy();
  });
}
