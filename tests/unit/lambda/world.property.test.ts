/** Random histories of calls, deaths, versions and little memory: nothing is lost or done twice. */

import { test } from "bun:test";
import * as fc from "fast-check";
import { seededRandom } from "../../helpers/random.ts";
import { NAMES, World } from "./world.ts";

const name = fc.constantFrom(...NAMES);
const index = fc.nat(20);
const kinds = <K extends string>(...all: K[]) => fc.constantFrom(...all);
const wait = fc.constantFrom(100, 600, 2_600, 5_000, 11_000);

const step = fc.oneof(
  { weight: 20, arbitrary: fc.record({ kind: kinds("call"), name }) },
  { weight: 16, arbitrary: fc.record({ kind: kinds("answer"), index }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: kinds("raise", "hang up", "kill", "refuse thaw"), index }),
  },
  { weight: 8, arbitrary: fc.record({ kind: kinds("wait"), ms: wait }) },
  { weight: 4, arbitrary: fc.record({ kind: kinds("publish", "delete", "slow packages"), name }) },
  { weight: 6, arbitrary: fc.record({ kind: kinds("hold creations", "hold removals") }) },
  { weight: 3, arbitrary: fc.record({ kind: kinds("hold registry", "fail start", "let go") }) },
);
const history = fc.array(step, { maxLength: 60, size: "max" });

const settings = fc.record({
  sandboxes: fc.constantFrom(1, 1.5, 2, 4, 100),
  cached: fc.constantFrom(0, 1, 3, 100),
  queueMax: fc.constantFrom(3, 1_000),
  concurrency: fc.integer({ min: 1, max: 3 }),
});

test("LambdaTable keeps its promises in any history", async () => {
  const { seed } = seededRandom("histories of a lambda layer");
  const property = fc.asyncProperty(
    settings,
    fc.boolean(),
    history,
    async (options, isLoading, steps) => {
      await using world = new World(options, isLoading);
      for (const one of steps) await world.step(one);
      await world.finish();
      await world.vanish();
      await world.close();
    },
  );
  await fc.assert(property, { numRuns: 150, seed });
}, 60_000);
