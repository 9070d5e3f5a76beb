/** What deciding on zygotes costs the worker, counted in steps: lambdas may declare as much as they like. */

import { expect, test } from "bun:test";
import {
  ZYGOTE_PLAN_STEPS_MAX,
  ZYGOTE_UNITS_MAX_COUNT,
} from "../../../src/common/zygote-limits.ts";
import { ImportCache } from "../../../src/zygote/import-cache.ts";
import { needOf } from "../../../src/zygote/need.ts";
import { FakeClock, FakeHost, MIB, packages } from "./fake-host.ts";

const names = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, index) => `module${from + index}`);

test("a unit's key does not grow with what it depends on, and tells closures apart", () => {
  const deep = needOf(packages(["top"], { top: names(500) }));
  const other = needOf(packages(["top"], { top: names(499) }));
  const keyOf = (need: typeof deep): string => [...need.declared.keys()].join();
  expect(keyOf(deep).length).toBeLessThanOrEqual(64);
  expect(deep.key.length).toBeLessThanOrEqual(64);
  expect(keyOf(deep)).not.toBe(keyOf(other));
  expect(keyOf(deep)).toBe(keyOf(needOf(packages(["top"], { top: names(500) }))));
});

test("of a lambda that declares hundreds of modules, a bounded number is imported ahead", () => {
  const need = needOf(packages(names(500)));
  expect(need.declared.size).toBe(ZYGOTE_UNITS_MAX_COUNT);
  // All of them may still be in a zygote that it is forked from.
  expect(need.all.size).toBe(500);
});

test("one distribution with hundreds of modules does not keep others from being imported ahead", () => {
  const units = names(500).map((module) => ({ module, dirs: ["api"] }));
  const wanted = { module: "protobuf", dirs: ["protobuf"] };
  const need = needOf({
    dirs: [],
    imports: [],
    units: [...units, wanted].map((one) => ({ ...one, declared: true, standard: true })),
  });
  expect(need.declared.size).toBe(ZYGOTE_UNITS_MAX_COUNT);
  expect([...need.declared.values()].map(({ module }) => module)).toContain("protobuf");
});

test("lambdas with 500 modules each cost a bounded number of steps, whatever their calls", async () => {
  const host = new FakeHost();
  const clock = new FakeClock();
  const cache = new ImportCache({ host, clock, budgetBytes: 1e6 * MIB });
  const lambdas = Array.from({ length: 80 }, (_, index) => packages(names(500, index)));
  for (let round = 0; round < 3; round += 1) {
    for (const lambda of lambdas) {
      const lease = cache.acquire(lambda);
      const before = cache.planSteps;
      lease.release(1_000_000);
      expect(cache.planSteps - before).toBeLessThanOrEqual(ZYGOTE_PLAN_STEPS_MAX);
      await cache.settled();
    }
  }
  // At one moment no more than a burst and the plan that went over it.
  expect(cache.planSteps).toBeLessThanOrEqual(2 * ZYGOTE_PLAN_STEPS_MAX);
  expect(host.creations).toBeGreaterThan(0);
  // With time, planning goes on.
  const before = cache.planSteps;
  clock.ms += 60_000;
  cache.acquire(lambdas[7]!).release(1_000_000);
  expect(cache.planSteps).toBeGreaterThan(before);
  await cache.close();
});
