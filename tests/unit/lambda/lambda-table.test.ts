/** All lambdas of a worker: what is remembered of them, the end of a worker, and its figures. */

import { describe, expect, jest, test } from "bun:test";
import { readdirSync } from "node:fs";
import { OlError } from "../../../src/common/errors.ts";
import { LAMBDA_FORGET_INTERVAL_MS, STARTS_MAX } from "../../../src/common/limits.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { settle } from "./fakes.ts";
import { TableBench, told } from "./table-bench.ts";

describe("what is remembered", () => {
  test("run() keeps nothing of 10,000 names that the registry does not have", async () => {
    await using bench = new TableBench();
    for (let hundred = 0; hundred < 100; hundred++) {
      const calls = Array.from({ length: 100 }, (_, index) =>
        bench.begin(`no-${hundred}-${index}`),
      );
      await Promise.all(calls.map(({ outcome }) => outcome));
      expect(new Set(calls.map(({ done }) => told(done)))).toEqual(new Set(["lambda_unknown"]));
    }
    expect(bench.table.stats().lambdas).toBe(0);
    bench.expectNothingLeft();
  });

  test("run() keeps nothing of a name that many ask for at the same time", async () => {
    await using bench = new TableBench();
    const calls = Array.from({ length: 100 }, () => bench.begin("unknown"));
    await Promise.all(calls.map(({ outcome }) => outcome));
    expect([bench.table.stats().lambdas, bench.registry.resolves]).toEqual([0, 1]);
  });

  test("names that could not be asked for are forgotten after a while", async () => {
    await using bench = new TableBench();
    bench.registry.broken = new OlError("registry_unavailable", "away");
    for (let name = 0; name < 100; name++) await bench.call(`name-${name}`);
    expect(bench.table.stats().lambdas).toBe(100);
    await bench.pass(2 * LAMBDA_FORGET_INTERVAL_MS);
    expect(bench.table.stats().lambdas).toBe(0);
  });

  test("a lambda is forgotten when it has no instance and no call for a while", async () => {
    await using bench = new TableBench({ cached: 0 });
    bench.registry.put("g", "one");
    await bench.call("f");
    const running = bench.begin("g");
    await bench.pass(2 * LAMBDA_FORGET_INTERVAL_MS);
    expect(bench.table.stats().lambdas).toBe(1);
    bench.answer(running);
    await settle();
    expect(told(running.done)).toBe(2);
    await bench.pass(2 * LAMBDA_FORGET_INTERVAL_MS);
    expect(bench.table.stats().lambdas).toBe(0);
    expect((await bench.call("f")).start).toBe("fresh");
    expect(bench.registry.pulls).toBe(3);
  });

  test("a lambda that was called of late is not forgotten", async () => {
    await using bench = new TableBench({ cached: 0 });
    await bench.pass(LAMBDA_FORGET_INTERVAL_MS - 500);
    await bench.call();
    await bench.pass(1_000);
    expect(bench.table.stats().lambdas).toBe(1);
  });

  test("the code of a lambda that is forgotten goes with it", async () => {
    await using bench = new TableBench({ cached: 0 });
    await bench.call();
    await bench.pass(2 * LAMBDA_FORGET_INTERVAL_MS);
    jest.useRealTimers();
    await waitFor(() => readdirSync(bench.dir.join("code", "f")).length === 0, "the code is gone");
  });

  test("a lambda with an idle instance is not forgotten", async () => {
    await using bench = new TableBench();
    await bench.call();
    await bench.pass(3 * LAMBDA_FORGET_INTERVAL_MS);
    expect(bench.table.stats().lambdas).toBe(1);
    expect((await bench.call()).start).toBe("unpaused");
  });
});

describe("starts", () => {
  test("go on so many at once as the worker may, all lambdas together", async () => {
    await using bench = new TableBench({ sandboxes: 100 });
    const gate = Promise.withResolvers<void>();
    bench.pool.gate = gate.promise;
    const names = Array.from({ length: 40 }, (_, index) => `lambda-${index}`);
    for (const name of names) bench.registry.put(name, "one");
    const calls = names.map((name) => bench.begin(name));
    await settle();
    expect(bench.pool.creating).toBe(STARTS_MAX);
    gate.resolve();
    await settle();
    await settle();
    for (const call of calls) bench.answer(call);
    await settle();
    expect(calls.filter(({ done }) => done?.error === null)).toHaveLength(40);
  });
});

describe("the end of a worker", () => {
  test("idle() settles at once where nothing runs", async () => {
    await using bench = new TableBench();
    await bench.table.idle();
    expect(bench.table.stats().calls.inFlight).toBe(0);
  });

  test("drain() refuses nothing by itself; idle() waits for the last answer", async () => {
    await using bench = new TableBench({ sandboxes: 1 });
    const calls = [bench.begin(), bench.begin()];
    await settle();
    expect(bench.table.draining).toBe(false);
    bench.table.drain();
    expect(bench.table.draining).toBe(true);
    let isIdle = 0;
    for (let waiter = 0; waiter < 2; waiter++) void bench.table.idle().then(() => (isIdle += 1));
    bench.answer(calls[0]!);
    await settle();
    expect(isIdle).toBe(0);
    bench.answer(calls[1]!);
    await settle();
    expect([isIdle, calls.map(({ done }) => told(done))]).toEqual([2, [1, 2]]);
  });

  test("idle() also waits for a call that fails, and for one that is not known yet", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<void>();
    bench.registry.gate = gate.promise;
    bench.begin("unknown");
    let isIdle = false;
    void bench.table.idle().then(() => (isIdle = true));
    await settle();
    expect(isIdle).toBe(false);
    gate.resolve();
    await settle();
    expect(isIdle).toBe(true);
  });

  test("close() ends every instance; calls that run are told so", async () => {
    await using bench = new TableBench();
    bench.registry.put("g", "one");
    await bench.call("g");
    const call = bench.begin("f");
    await settle();
    await bench.table.close();
    await settle();
    expect(told(call.done)).toBe("cancelled");
    bench.expectNothingLeft();
  });

  test("close() waits until the instances are gone, and may come twice", async () => {
    await using bench = new TableBench();
    await bench.call();
    const gate = Promise.withResolvers<void>();
    bench.pool.made[0]!.destroyGate = gate.promise;
    let isClosed = false;
    const closing = bench.table.close().then(() => (isClosed = true));
    await settle();
    expect(isClosed).toBe(false);
    gate.resolve();
    await Promise.all([closing, bench.table.close()]);
    bench.expectNothingLeft();
  });

  test("close() stops every timer of the layer", async () => {
    await using bench = new TableBench();
    const before = jest.getTimerCount();
    await bench.table.close();
    // One for idle instances, one for lambdas that are forgotten.
    expect(jest.getTimerCount()).toBe(before - 2);
  });

  test("close() is the end: later calls start nothing", async () => {
    await using bench = new TableBench();
    await bench.call();
    await bench.table.close();
    expect(told(await bench.call())).toBe("draining");
    bench.expectNothingLeft();
  });

  test("close() answers calls that wait", async () => {
    await using bench = new TableBench({ sandboxes: 1 });
    const calls = [bench.begin(), bench.begin(), bench.begin()];
    await settle();
    await bench.table.close();
    await settle();
    expect(calls.map(({ done }) => told(done))).toEqual(["cancelled", "draining", "draining"]);
    bench.expectNothingLeft();
  });

  test("close() leaves nothing of a start that was under way", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<void>();
    bench.pool.gate = gate.promise;
    const call = bench.begin();
    await settle();
    await bench.table.close();
    gate.resolve();
    await settle();
    expect(told(call.done)).toBe("draining");
    bench.expectNothingLeft();
  });
});
