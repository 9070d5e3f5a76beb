/** Starts that wait for memory: whom they are for, who is told when it does not come. */

import { describe, expect, test } from "bun:test";
import { IDLE_PAUSE_AFTER_MS, POOL_WAIT_MAX_MS, STARTS_MAX } from "../../../src/common/limits.ts";
import { settle } from "./fakes.ts";
import { CACHE_MS, TableBench, told } from "./table-bench.ts";

const statesOf = (bench: TableBench): string[] => bench.pool.made.map(({ state }) => state);

/** A bench with memory for one sandbox and two lambdas. */
function open(): TableBench {
  const bench = new TableBench({ sandboxes: 1 });
  bench.registry.put("g", "one");
  return bench;
}

describe("memory that does not come", () => {
  test("is told to nobody who has waited for less than the bound", async () => {
    await using bench = open();
    let running = bench.begin();
    let waiting = bench.begin();
    const refused: unknown[] = [];
    // Two clients that call again and again: the instance is never idle, nobody waits for long.
    for (let turn = 0; turn < 3 * (POOL_WAIT_MAX_MS / 100); turn++) {
      await bench.pass(100);
      bench.answer(running);
      await settle();
      if (waiting.done !== null) refused.push(told(waiting.done));
      [running, waiting] = [waiting, bench.begin()];
      await settle();
    }
    expect(refused).toEqual([]);
  });

  test("is told to all who have waited for it, however many they are", async () => {
    await using bench = open();
    const running = bench.begin("f");
    await settle();
    const waiting = Array.from({ length: 50 }, () => bench.begin("g"));
    await bench.pass(2 * POOL_WAIT_MAX_MS + 100);
    expect(new Set(waiting.map(({ done }) => told(done)))).toEqual(new Set(["pool_exhausted"]));
    bench.answer(running);
    expect(told(await running.outcome)).toBe(1);
  });

  test("is told to each after its own time, and costs the later ones no place", async () => {
    await using bench = open();
    bench.registry.put("h", "one");
    const running = bench.begin("f");
    await settle();
    const early = bench.begin("g");
    await bench.pass(POOL_WAIT_MAX_MS / 2);
    const late = bench.begin("g");
    await settle();
    const other = bench.begin("h");
    await bench.pass(POOL_WAIT_MAX_MS / 2 + 50);
    const states = [early, late, other].map(({ done }) => told(done));
    expect(states).toEqual(["pool_exhausted", "nothing yet", "nothing yet"]);
    bench.answer(running);
    await settle();
    expect([bench.whereIs(late) !== null, bench.whereIs(other)]).toEqual([true, null]);
    bench.answer(late);
    await settle();
    bench.answer(other);
    expect([told(await late.outcome), told(await other.outcome)]).toEqual([3, 4]);
  });
});

describe("a start that nobody waits for any more", () => {
  test("costs no warm instance", async () => {
    await using bench = open();
    const calls = [bench.begin(), bench.begin()];
    await settle();
    for (const call of calls) {
      bench.answer(call);
      await settle();
    }
    await bench.pass(IDLE_PAUSE_AFTER_MS + 500);
    expect(statesOf(bench)).toEqual(["paused"]);
  });

  test("makes no instance of a version that was replaced meanwhile", async () => {
    await using bench = open();
    const running = bench.begin();
    await settle();
    const waiting = bench.begin();
    bench.registry.put("f", "two");
    await bench.pass(CACHE_MS);
    const later = bench.begin();
    await settle();
    bench.answer(running);
    await settle();
    bench.answer(waiting);
    await settle();
    bench.answer(later);
    await settle();
    const made = bench.pool.made.map(({ spec }) => spec.codeId.split("/").at(-1));
    expect([made, told(waiting.done), told(later.done)]).toEqual([["one", "two"], 2, 3]);
  });

  test("makes none for a worker that was closed", async () => {
    await using bench = open();
    const calls = [bench.begin(), bench.begin(), bench.begin()];
    await settle();
    await bench.table.close();
    await settle();
    expect(calls.map(({ done }) => told(done))).toEqual(["cancelled", "draining", "draining"]);
    expect(bench.pool.made).toHaveLength(1);
  });

  test("makes none for a client that hung up before its turn came", async () => {
    await using bench = new TableBench({ sandboxes: 100 });
    const gate = Promise.withResolvers<void>();
    bench.pool.gate = gate.promise;
    const names = Array.from({ length: STARTS_MAX + 4 }, (_, index) => `lambda-${index}`);
    for (const name of names) bench.registry.put(name, "one");
    const calls = names.map((name) => bench.begin(name));
    await settle();
    for (const call of calls.slice(STARTS_MAX)) call.hangUp();
    gate.resolve();
    await settle();
    for (const call of calls) bench.answer(call);
    await settle();
    expect(bench.pool.made).toHaveLength(STARTS_MAX);
    expect(bench.table.stats().calls.queued).toBe(0);
  });

  test("gives up its place for one that somebody waits for", async () => {
    await using bench = open();
    const running = bench.begin("f");
    await settle();
    const gone = bench.begin("f");
    await settle();
    gone.hangUp();
    const other = bench.begin("g");
    await settle();
    bench.answer(running);
    await settle();
    bench.answer(other);
    expect([told(gone.done), told(await other.outcome)]).toEqual(["cancelled", 3]);
  });
});
