/** Bounds, and what happens at them: part of the contract that every engine keeps. */

import { expect, test } from "bun:test";
import { type Bench, DEADLINE_MS, MIB, call, failure, until } from "./bench.ts";

/** Bounds, and what happens at them. */
export function describeLimits(bench: Bench): void {
  test("call() ends a lambda that needs too much memory", async () => {
    const code = "def handler(event):\n    return len(b'x' * (1 << 30))\n";
    const error = await failure(bench.once(code));
    expect(error.code).toBe("sandbox_out_of_memory");
  });

  test("call() ends a lambda that runs too long, deaf to signals or not", async () => {
    const code =
      "import signal\nfor n in range(1, 32):\n    try:\n        signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\ndef handler(event):\n    while True:\n        pass\n";
    const sandbox = await bench.make(code);
    const error = await failure(call(sandbox, null, 600));
    expect(error.code).toBe("runtime_exceeded");
    expect((await sandbox.gone).code).toBe("runtime_exceeded");
    await sandbox.destroy();
  });

  test("call() bounds the processes of a lambda", async () => {
    const code = `
import os, time
def handler(event):
    made = 0
    try:
        for _ in range(100):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            made += 1
    except OSError as error:
        return [made, error.errno]
    return [made, 0]
`;
    const [made, errno] = (await bench.once(code)) as [number, number];
    expect(errno).toBe(11);
    expect(made).toBeGreaterThan(8);
    expect(made).toBeLessThan(32);
  });
  describeBytes(bench);
}

function describeBytes(bench: Bench): void {
  test("call() bounds scratch space", async () => {
    const code = `
def handler(event):
    try:
        with open(event, "wb") as file:
            for _ in range(100):
                file.write(b"x" * 1048576)
        return 0
    except OSError as error:
        return error.errno
`;
    const limits = {
      memoryMaxBytes: 256 * MIB,
      processesMax: 32,
      cpuPercent: 100,
      runtimeMs: DEADLINE_MS,
      scratchMaxBytes: 16 * MIB,
    };
    for (const file of ["/tmp/fill", "/host/fill"]) {
      expect(await bench.once(code, file, { limits })).toBeOneOf([27, 28]);
    }
  });

  test("call() ends a lambda that floods its output past the guest", async () => {
    const code =
      "import os\ndef handler(event):\n    while True:\n        try:\n            os.write(1, b'x' * 1048576)\n        except OSError:\n            pass\n";
    const sandbox = await bench.make(code);
    const error = await failure(call(sandbox));
    expect(error.code).toBe("sandbox_output_limit");
    await sandbox.destroy();
  });

  test("usage() tells memory and CPU time", async () => {
    // What a zygote had before is its own: a sandbox is charged with what it touches itself.
    const code =
      "held = []\ndef handler(event):\n    held.append(b'x' * (8 << 20))\n    return sum(range(3_000_000))\n";
    const sandbox = await bench.make(code);
    await call(sandbox);
    await until(() => sandbox.usage().memoryBytes > 8 * MIB);
    const usage = sandbox.usage();
    expect(usage.memoryBytes).toBeLessThan(128 * MIB);
    expect(usage.memoryPeakBytes).toBeGreaterThanOrEqual(usage.memoryBytes);
    expect(usage.cpuUs).toBeGreaterThan(1000);
    expect(usage.outOfMemoryKills).toBe(0);
    await sandbox.destroy();
  });
}
