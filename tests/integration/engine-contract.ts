/**
 * What every engine must do, in one suite that runs unchanged against each: an engine is done when
 * it passes. It speaks only to the contract of `src/sandbox/contract.ts`.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";
import { rmSync } from "node:fs";
import { Bench, type EngineUnderTest } from "./contract/bench.ts";
import { describeCalls } from "./contract/calls.ts";
import { describeFailures } from "./contract/failures.ts";
import { describeIsolation } from "./contract/isolation.ts";
import { describeLife } from "./contract/life.ts";
import { describeLimits } from "./contract/limits.ts";

export type { EngineUnderTest } from "./contract/bench.ts";

/**
 * @param name the engine
 * @param start makes one, empty
 * @param skip true where this machine cannot run it
 */
export function describeEngine(
  name: string,
  start: () => Promise<EngineUnderTest>,
  skip = false,
): void {
  // A test that times out gets the children of the whole process killed, daemons included.
  setDefaultTimeout(120_000);
  describe.skipIf(skip)(`engine ${name}`, () => {
    const bench = new Bench();
    beforeAll(async () => {
      bench.open(await start());
    }, 300_000);
    afterAll(async () => {
      await bench.engine.pool.close();
      expect(bench.engine.pool.live).toBe(0);
      await bench.engine.stop();
      rmSync(bench.dir, { recursive: true, force: true });
    }, 120_000);
    describeCalls(bench);
    describeFailures(bench);
    describeLimits(bench);
    describeIsolation(bench);
    describeLife(bench);
  });
}
