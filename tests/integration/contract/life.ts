/** Pausing and ending: part of the contract that every engine keeps. */

import { expect, test } from "bun:test";
import { type Bench, call, failure, until } from "./bench.ts";

/** Pausing and ending. */
export function describeLife(bench: Bench): void {
  test("pause() stops everything in it and unpause() lets it go on", async () => {
    const code = `
import threading
count = 0
def run():
    global count
    while True:
        count += 1
threading.Thread(target=run, daemon=True).start()
def handler(event):
    return count
`;
    const sandbox = await bench.make(code);
    await call(sandbox);
    await until(() => sandbox.usage().cpuUs > 0);
    sandbox.pause();
    sandbox.pause();
    expect(sandbox.state).toBe("paused");
    let before = -1;
    await until(async () => {
      const now = sandbox.usage().cpuUs;
      const still = now === before;
      before = now;
      await Bun.sleep(100);
      return still;
    });
    sandbox.unpause();
    sandbox.unpause();
    expect(sandbox.state).toBe("ready");
    await call(sandbox);
    await until(() => sandbox.usage().cpuUs > before);
    for (let round = 0; round < 20; round += 1) {
      sandbox.pause();
      sandbox.unpause();
    }
    expect(await call(sandbox)).toBeGreaterThan(0);
    sandbox.pause();
    await sandbox.destroy();
    expect((await sandbox.gone).code).toBe("cancelled");
  });

  test("destroy() ends calls in flight, may be repeated, and leaves nothing alive", async () => {
    const before = bench.engine.pool.live;
    const sandbox = await bench.make("import time\ndef handler(event):\n    time.sleep(60)\n");
    expect(bench.engine.pool.live).toBe(before + 1);
    const hanging = failure(call(sandbox));
    await Promise.all([sandbox.destroy(), sandbox.destroy()]);
    expect((await hanging).code).toBe("cancelled");
    await sandbox.destroy();
    expect(sandbox.state).toBe("destroyed");
    expect(bench.engine.pool.live).toBe(before);
    // Whoever calls later hears that it is gone; by whose hand is only promised to `gone`.
    expect((await failure(call(sandbox))).code).toBe("cancelled");
    expect((await sandbox.gone).code).toBe("cancelled");
  });

  test("destroy() right after create() works while the lambda is being loaded", async () => {
    const sandbox = await bench.make("import time\ntime.sleep(60)\ndef handler(event): pass\n");
    await sandbox.destroy();
    expect((await sandbox.gone).code).toBe("cancelled");
  });
}
