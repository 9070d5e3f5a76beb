/** `max_runners` above 1: several calls in one instance, never more than it may have. */

import { expect, test } from "bun:test";
import { IDLE_PAUSE_AFTER_MS } from "../../../src/common/limits.ts";
import { LIMIT_BYTES, settle } from "./fakes.ts";
import { CACHE_MS, TableBench, type Tracked, told } from "./table-bench.ts";

test("calls share an instance up to its bound, and further ones get another", async () => {
  await using bench = new TableBench({ concurrency: 3 });
  const calls = Array.from({ length: 4 }, () => bench.begin());
  await settle();
  expect(bench.pool.made.map((sandbox) => sandbox.calls.length)).toEqual([3, 1]);
  for (const call of calls) bench.answer(call);
  await settle();
  expect(calls.map(({ done }) => told(done))).toEqual([1, 2, 3, 4]);
});

test("a call takes the free place of an instance that runs others", async () => {
  await using bench = new TableBench({ concurrency: 2 });
  const first = bench.begin();
  await settle();
  const second = bench.begin();
  await settle();
  expect(bench.whereIs(second)).toBe(bench.whereIs(first));
  bench.answer(second);
  expect((await second.outcome).start).toBe("warm");
  const third = bench.begin();
  await settle();
  expect([bench.pool.made.length, bench.pool.made[0]!.calls.length]).toEqual([1, 2]);
  bench.answer(first);
  bench.answer(third);
});

test("an instance with a free place is neither paused nor evicted while it runs a call", async () => {
  await using bench = new TableBench({ concurrency: 2, sandboxes: 1 });
  bench.registry.put("g", "one");
  const call = bench.begin();
  await settle();
  const other = bench.begin("g");
  await bench.pass(2 * IDLE_PAUSE_AFTER_MS);
  expect([bench.pool.made[0]!.state, other.done]).toEqual(["ready", null]);
  bench.answer(call);
  await settle();
  bench.answer(other);
  expect(told(await other.outcome)).toBe(2);
});

test("an instance is paused after its last call, and thawed once for many", async () => {
  await using bench = new TableBench({ concurrency: 2 });
  const calls = [bench.begin(), bench.begin()];
  await settle();
  for (const call of calls) bench.answer(call);
  await bench.pass(2 * IDLE_PAUSE_AFTER_MS);
  expect(bench.pool.made[0]!.state).toBe("paused");
  const again = [bench.begin(), bench.begin()];
  await settle();
  expect([bench.pool.made[0]!.calls.length, bench.reservedBytes]).toEqual([2, LIMIT_BYTES]);
  for (const call of again) bench.answer(call);
  const starts = await Promise.all(again.map(({ outcome }) => outcome));
  expect(starts.map(({ start }) => start)).toEqual(["unpaused", "warm"]);
});

test("an instance that dies fails all its calls, each once", async () => {
  await using bench = new TableBench({ concurrency: 3 });
  const calls = [bench.begin(), bench.begin(), bench.begin()];
  await settle();
  await bench.pool.made[0]!.die();
  await settle();
  expect(calls.map(({ done }) => told(done))).toEqual(Array(3).fill("sandbox_died"));
  bench.expectNothingLeft();
});

test("an instance is removed after its last call where the cache is off", async () => {
  await using bench = new TableBench({ concurrency: 2, cached: 0 });
  const calls = [bench.begin(), bench.begin()];
  await settle();
  bench.answer(calls[0]!);
  await settle();
  expect([bench.pool.live, calls[1]!.done]).toEqual([1, null]);
  const third = bench.begin();
  await settle();
  expect(bench.pool.made).toHaveLength(1);
  bench.answer(calls[1]!);
  bench.answer(third);
  await settle();
  expect(told(third.done)).toBe(3);
  bench.expectNothingLeft();
});

test("calls in flight finish on the old version, also where it has a free place", async () => {
  await using bench = new TableBench({ concurrency: 2 });
  const before = bench.begin();
  await settle();
  bench.registry.put("f", "two");
  await bench.pass(CACHE_MS);
  const after = bench.begin();
  await settle();
  expect([before.done, bench.pool.made.length]).toEqual([null, 2]);
  bench.answer(before);
  bench.answer(after);
  expect([told(await before.outcome), told(await after.outcome)]).toEqual([1, 2]);
  await settle();
  expect(bench.pool.alive).toEqual([bench.pool.made[1]!]);
});

/**
 * The first instance runs one call and has a free place, the second is paused, a third of another
 * lambda takes the memory that thawing it would need.
 */
async function tight(bench: TableBench): Promise<{ running: Tracked; other: Tracked }> {
  bench.registry.put("g", "one");
  const [first, running, ...others] = Array.from({ length: 4 }, () => bench.begin());
  await settle();
  for (const call of [first!, ...others]) {
    bench.answer(call);
    await settle();
  }
  await bench.pass(2 * IDLE_PAUSE_AFTER_MS);
  const other = bench.begin("g");
  await settle();
  expect(bench.pool.made.map(({ state }) => state)).toEqual(["ready", "paused", "ready"]);
  expect(bench.pool.made.map(({ calls }) => calls.length)).toEqual([1, 0, 1]);
  return { running: running!, other };
}

test("a call takes a free place where another instance cannot be thawed", async () => {
  await using bench = new TableBench({ concurrency: 2, sandboxes: 2.25 });
  const { running, other } = await tight(bench);
  const call = bench.begin();
  await settle();
  expect(bench.whereIs(call)?.id).toBe("sandbox-1");
  for (const one of [running, call, other]) bench.answer(one);
  expect(told(await call.outcome)).toBe(6);
});

test("an instance never runs more calls than it may, also after a queue", async () => {
  await using bench = new TableBench({ concurrency: 2, sandboxes: 2.25 });
  const { running } = await tight(bench);
  bench.begin();
  bench.begin();
  await settle();
  bench.answer(running);
  await settle();
  bench.begin();
  await settle();
  expect(bench.pool.made.map(({ peak }) => peak)).toEqual([2, 2, 1]);
});
