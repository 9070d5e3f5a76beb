/** Random lambdas, calls, deaths and time: what must hold whatever happens. */

import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { ImportCache } from "../../../src/zygote/import-cache.ts";
import { FakeClock, FakeHost, MIB, packages } from "./fake-host.ts";

const NAMES = ["a", "b", "c", "d", "e", "f@1", "f@2", "g"] as const;
/** Edges go to later names only; `f` exists in two versions. */
const requirements = fc
  .array(fc.subarray([0, 1, 2, 3, 4, 5, 7]), { minLength: 8, maxLength: 8 })
  .map((lists) =>
    Object.fromEntries(
      NAMES.map((name, index) => [
        name,
        (lists[index] ?? []).filter((to) => to > index).map((to) => NAMES[to] ?? "a"),
      ]),
    ),
  );
const lambda = fc.subarray([...NAMES], { minLength: 1, maxLength: 4 });
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("call" as const),
      index: fc.nat(7),
      stays: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill" as const), index: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("finish" as const), index: fc.nat(9) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), index: fc.nat(100_000) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("free" as const), index: fc.nat(200) }) },
);

test("ImportCache holds its rules under random calls, deaths and memory pressure", async () => {
  await fc.assert(
    fc.asyncProperty(
      requirements,
      fc.array(lambda, { minLength: 1, maxLength: 8 }),
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 20, max: 120 }),
      async (requires, lambdas, steps, budgetMib) => {
        const host = new FakeHost();
        const clock = new FakeClock();
        const cache = new ImportCache({ host, clock, budgetBytes: budgetMib * MIB });
        const installed = lambdas.map((declared) => packages(declared, requires));
        // pip never resolves to two versions of one distribution.
        fc.pre(
          installed.every(({ dirs }) => dirs.filter(({ dir }) => dir.startsWith("f")).length < 2),
        );
        for (const one of steps) {
          clock.ms += 10;
          const live = [...host.zygotes.keys()];
          const victim = live[one.index % Math.max(1, live.length)];
          if (one.kind === "call") {
            const need = installed[one.index % installed.length]!;
            const lease = cache.acquire(need);
            // Nothing of a zygote is foreign to the lambda: modules and the very same distributions.
            const dirs = new Set(need.dirs.map(({ dir }) => dir));
            const modules = new Set(need.units.map(({ module }) => module));
            if (lease.zygote !== null) {
              const zygote = host.zygotes.get(lease.zygote)!;
              expect(zygote.spec.packages.every(({ dir }) => dirs.has(dir))).toBe(true);
              expect([...zygote.imports].every((name) => modules.has(name))).toBe(true);
              expect(need.imports.filter((name) => !zygote.imports.has(name))).toEqual([
                ...lease.imports,
              ]);
              if ("stays" in one && one.stays) zygote.handlers += 1;
            }
            lease.release(lease.imports.length * 100_000);
            await cache.settled();
          } else if (one.kind === "kill" && victim !== undefined) {
            host.kill(victim);
            cache.zygoteGone(victim);
          } else if (one.kind === "finish" && victim !== undefined) {
            host.zygotes.get(victim)!.handlers = 0;
          } else if (one.kind === "wait") clock.ms += one.index;
          else if (one.kind === "free") cache.releaseMemory(one.index * MIB);
          await cache.settled();
          check(cache, host, budgetMib * MIB);
        }
        await cache.close();
        expect(host.zygotes.size).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
}, 60_000);

function check(cache: ImportCache, host: FakeHost, budgetBytes: number): void {
  expect(host.violations).toEqual([]);
  const { zygotes, memoryBytes } = cache.stats();
  expect(zygotes.map(({ id }) => id).toSorted()).toEqual([...host.zygotes.keys()].toSorted());
  const parents = new Map(zygotes.map(({ id, parent }) => [id, parent]));
  for (const { id, parent } of zygotes) {
    expect(host.zygotes.get(id)?.parent).toBe(parent);
    let depth = 1;
    for (let above = parent; above !== null; above = parents.get(above) ?? null) depth += 1;
    expect(depth).toBeLessThanOrEqual(8);
  }
  const idleLeaf = zygotes.some(({ id }) => host.liveSandboxes(id) === 0);
  if (memoryBytes > budgetBytes) expect(idleLeaf).toBe(false);
}
