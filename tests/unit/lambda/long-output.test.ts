/** Instances that have printed much: others take their place before what they print is dropped. */

import { expect, test } from "bun:test";
import { settle } from "./fakes.ts";
import { TableBench, told } from "./table-bench.ts";

test("an instance with a full log is replaced after its call", async () => {
  await using bench = new TableBench();
  await bench.call();
  const call = bench.begin();
  await settle();
  bench.pool.made[0]!.isLogFull = true;
  bench.answer(call);
  await settle();
  expect([told(call.done), bench.pool.live]).toEqual([2, 0]);
  expect((await bench.call()).start).toBe("fresh");
});

test("calls that wait go to the instance that takes its place", async () => {
  await using bench = new TableBench({ sandboxes: 1 });
  const calls = [bench.begin(), bench.begin()];
  await settle();
  bench.pool.made[0]!.isLogFull = true;
  bench.answer(calls[0]!);
  await settle();
  expect(bench.whereIs(calls[1]!)?.id).toBe("sandbox-2");
  bench.answer(calls[1]!);
  await settle();
  expect(calls.map(({ done }) => told(done))).toEqual([1, 2]);
});

test("an instance with several calls is replaced after the last, and gets no more", async () => {
  await using bench = new TableBench({ concurrency: 2 });
  const calls = [bench.begin(), bench.begin()];
  await settle();
  const [first] = bench.pool.made;
  first!.isLogFull = true;
  bench.answer(calls[0]!);
  const later = bench.begin();
  await settle();
  expect([bench.whereIs(later)?.id, first!.state]).toEqual(["sandbox-2", "ready"]);
  bench.answer(calls[1]!);
  await settle();
  expect(first!.state).toBe("destroyed");
  bench.answer(later);
});
