/** Memory is short: who is paused, thawed, evicted, waits, and who is told that there is none. */

import { describe, expect, test } from "bun:test";
import { IDLE_PAUSE_AFTER_MS, POOL_WAIT_MAX_MS } from "../../../src/common/limits.ts";
import { HELD_BYTES, LIMIT_BYTES, settle } from "./fakes.ts";
import { TableBench, told } from "./table-bench.ts";

/** One more than is idle for long enough to be paused, for the timer that does it. */
const PAUSED_AFTER_MS = IDLE_PAUSE_AFTER_MS + 500;

const LAMBDAS = ["f", "g", "h", "i"] as const;

/** A bench whose registry has all of these lambdas. */
function open(options: ConstructorParameters<typeof TableBench>[0]): TableBench {
  const bench = new TableBench(options);
  for (const name of LAMBDAS) bench.registry.put(name, "one");
  return bench;
}

const statesOf = (bench: TableBench): string[] => bench.pool.made.map(({ state }) => state);

describe("idle instances", () => {
  test("are paused after a while, and thawed by the next call", async () => {
    await using bench = open({});
    await bench.call();
    await bench.pass(IDLE_PAUSE_AFTER_MS - 300);
    expect([statesOf(bench), bench.reservedBytes]).toEqual([["ready"], LIMIT_BYTES]);
    await bench.pass(800);
    expect([statesOf(bench), bench.reservedBytes]).toEqual([["paused"], HELD_BYTES]);
    expect(bench.table.stats().sandboxes).toMatchObject({ live: 1, paused: 1, busy: 0 });
    const call = bench.begin();
    await settle();
    expect([statesOf(bench), bench.reservedBytes]).toEqual([["ready"], LIMIT_BYTES]);
    bench.answer(call);
    expect((await call.outcome).start).toBe("unpaused");
  });

  test("are not paused while calls come again and again", async () => {
    await using bench = open({});
    for (let call = 0; call < 10; call++) {
      await bench.call();
      await bench.pass(IDLE_PAUSE_AFTER_MS / 2);
      expect(statesOf(bench)).toEqual(["ready"]);
    }
  });

  test("are evicted, the least recently used first, where they hold more than the cache", async () => {
    await using bench = open({ cached: 2 });
    for (const name of LAMBDAS) {
      await bench.call(name);
      await bench.pass(100);
    }
    await bench.pass(PAUSED_AFTER_MS);
    expect(statesOf(bench)).toEqual(["destroyed", "destroyed", "paused", "paused"]);
    expect([bench.reservedBytes, bench.table.stats().caches.handler.evictions]).toEqual([
      2 * HELD_BYTES,
      2,
    ]);
  });

  test("are not kept at all where the cache is off", async () => {
    await using bench = open({ cached: 0 });
    const calls = [bench.begin(), bench.begin()];
    await settle();
    for (const call of calls) bench.answer(call);
    await settle();
    bench.expectNothingLeft();
    expect((await bench.call()).start).toBe("fresh");
    await settle();
    bench.expectNothingLeft();
  });

  test("are ended after their call has its answer where the cache is off", async () => {
    await using bench = open({ cached: 0 });
    const call = bench.begin();
    await settle();
    bench.answer(call);
    await call.outcome;
    expect(bench.pool.live).toBe(1);
    await settle();
    bench.expectNothingLeft();
  });

  test("serve calls that wait before they are given up where the cache is off", async () => {
    await using bench = open({ cached: 0, sandboxes: 1 });
    const calls = [bench.begin(), bench.begin()];
    await settle();
    bench.answer(calls[0]!);
    await settle();
    bench.answer(calls[1]!);
    expect((await calls[1]!.outcome).start).toBe("warm");
    await settle();
    bench.expectNothingLeft();
  });

  test("that die leave the cache and are not given calls", async () => {
    await using bench = open({});
    await bench.call();
    await bench.pass(PAUSED_AFTER_MS);
    await bench.pool.made[0]!.die();
    await settle();
    bench.expectNothingLeft();
    expect((await bench.call()).start).toBe("fresh");
  });

  test("that died while they were paused cost the others no place in the cache", async () => {
    await using bench = open({ cached: 1 });
    await bench.call("f");
    await bench.pass(PAUSED_AFTER_MS);
    await bench.pool.made[0]!.die();
    await bench.call("g");
    await bench.pass(PAUSED_AFTER_MS);
    expect(statesOf(bench)).toEqual(["destroyed", "paused"]);
  });

  test("that are dying are not given calls, while they still hold memory", async () => {
    await using bench = open({});
    await bench.call();
    const gate = Promise.withResolvers<void>();
    bench.pool.made[0]!.destroyGate = gate.promise;
    void bench.pool.made[0]!.die();
    const call = bench.begin();
    await settle();
    expect([bench.whereIs(call), bench.reservedBytes]).toEqual([
      bench.pool.made[1]!,
      2 * LIMIT_BYTES,
    ]);
    gate.resolve();
    bench.answer(call);
    await settle();
    expect(bench.reservedBytes).toBe(LIMIT_BYTES);
  });
});

describe("short memory", () => {
  test("pauses idle instances of others before anybody is evicted or refused", async () => {
    await using bench = open({ sandboxes: 2 });
    await bench.call("f");
    await bench.pass(100);
    await bench.call("g");
    const call = bench.begin("h");
    await settle();
    expect(statesOf(bench)).toEqual(["paused", "paused", "ready"]);
    expect(bench.reservedBytes).toBe(2 * HELD_BYTES + LIMIT_BYTES);
    bench.answer(call);
    expect(told(await call.outcome)).toBe(3);
  });

  test("evicts the least recently used where pausing is not enough", async () => {
    await using bench = open({ sandboxes: 1 });
    for (const name of LAMBDAS) {
      await bench.call(name);
      await bench.pass(PAUSED_AFTER_MS);
    }
    expect(statesOf(bench)).toEqual(["destroyed", "destroyed", "destroyed", "paused"]);
  });

  test("makes a call wait until another one ends", async () => {
    await using bench = open({ sandboxes: 1 });
    const first = bench.begin("f");
    await settle();
    const second = bench.begin("g");
    await bench.pass(POOL_WAIT_MAX_MS - 100);
    expect([second.done, bench.table.stats().calls.queued]).toEqual([null, 1]);
    bench.answer(first);
    await settle();
    bench.answer(second);
    expect(told(await second.outcome)).toBe(2);
    const { queueUs, pullUs } = second.done!.timing;
    expect(queueUs + pullUs).toBe((POOL_WAIT_MAX_MS - 100) * 1000);
  });

  test("refuses a call after its time, with the advice to come again", async () => {
    await using bench = open({ sandboxes: 1 });
    const first = bench.begin("f");
    await settle();
    const second = bench.begin("g");
    await bench.pass(POOL_WAIT_MAX_MS + 100);
    expect([told(second.done), second.done?.error?.retryable]).toEqual(["pool_exhausted", true]);
    expect(bench.table.stats().calls.queued).toBe(0);
    bench.answer(first);
    expect(told(await first.outcome)).toBe(1);
    expect(told(await bench.call("g"))).toBe(3);
  });
});
