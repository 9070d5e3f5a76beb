/** One queue for all lambdas: a flood of one fills it at its own cost only. */

import { expect, test } from "bun:test";
import type { InstalledPackages } from "../../../src/packages/contract.ts";
import { settle } from "./fakes.ts";
import { type BenchOptions, CACHE_MS, TableBench, type Tracked, told } from "./table-bench.ts";

function open(options: BenchOptions): TableBench {
  const bench = new TableBench({ sandboxes: 1, ...options });
  for (const name of ["g", "h"]) bench.registry.put(name, "one");
  return bench;
}

const toldOf = (calls: readonly Tracked[]): unknown[] => calls.map(({ done }) => told(done));

/** Answers what runs until nothing does. */
async function finish(bench: TableBench): Promise<void> {
  for (let round = 0; round < 20; round++) {
    for (const running of bench.pool.running) running.answer(Number(running.body));
    await bench.pass(300);
  }
}

test("a call of another lambda takes the newest place of the one that fills the queue", async () => {
  await using bench = open({ queueMax: 3 });
  const flood = Array.from({ length: 5 }, () => bench.begin("f"));
  await settle();
  const call = bench.begin("g");
  await settle();
  const none = "nothing yet";
  expect([toldOf(flood), told(call.done)]).toEqual([
    [none, none, none, "queue_full", "queue_full"],
    none,
  ]);
  expect(bench.table.stats().calls.queued).toBe(3);
  await finish(bench);
  expect([toldOf(flood.slice(0, 3)), told(call.done)]).toEqual([[1, 2, 3], 6]);
});

test("a flood of calls that wait for packages leaves place as well", async () => {
  await using bench = open({ queueMax: 3 });
  const packages = Promise.withResolvers<InstalledPackages>();
  bench.installer.answers.set("slow", packages.promise);
  bench.registry.put("f", "slow");
  const flood = Array.from({ length: 4 }, () => bench.begin("f"));
  await settle();
  const calls = [bench.begin("g"), bench.begin("h")];
  await settle();
  expect(toldOf(flood)).toEqual(["nothing yet", "queue_full", "queue_full", "queue_full"]);
  packages.resolve({ dirs: [], imports: [], units: [] });
  await finish(bench);
  expect([told(flood[0]!.done), toldOf(calls)]).toEqual([1, [5, 6]]);
});

test("a start that was for a call that lost its place is taken back", async () => {
  await using bench = open({ queueMax: 2, sandboxes: 2 });
  const running = [bench.begin("h"), bench.begin("h")];
  await settle();
  const flood = [bench.begin("f"), bench.begin("f")];
  await settle();
  const call = bench.begin("g");
  await settle();
  for (const one of running) bench.answer(one);
  await settle();
  const made = bench.pool.made.map(({ spec }) => spec.lambdaName);
  expect(made).toEqual(["h", "h", "f", "g"]);
  await finish(bench);
  expect([toldOf(flood), told(call.done)]).toEqual([[3, "queue_full"], 5]);
  expect(bench.pool.made).toHaveLength(4);
});

test("calls that wait are served by the new version, also where its first call is refused", async () => {
  await using bench = open({ queueMax: 2 });
  const running = bench.begin("g");
  await settle();
  const waiting = [bench.begin("f"), bench.begin("f")];
  await settle();
  bench.registry.put("f", "two");
  await bench.pass(CACHE_MS);
  const refused = bench.begin("f");
  await settle();
  expect(told(refused.done)).toBe("queue_full");
  bench.answer(running);
  await finish(bench);
  expect(toldOf(waiting)).toEqual([2, 3]);
  expect(bench.pool.made.map(({ spec }) => spec.codeId.split("/").at(-1))).toEqual(["one", "two"]);
});
