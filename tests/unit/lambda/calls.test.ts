/** Calls of one lambda: their order, their bound, their instances, and what each is told. */

import { describe, expect, test } from "bun:test";
import { OlError } from "../../../src/common/errors.ts";
import { STARTS_PER_LAMBDA_MAX } from "../../../src/common/limits.ts";
import { settle } from "./fakes.ts";
import { TableBench, told } from "./table-bench.ts";

describe("run()", () => {
  test("answers a call from a new instance, the next ones from the same", async () => {
    await using bench = new TableBench();
    const outcomes = [await bench.call(), await bench.call(), await bench.call()];
    expect(outcomes.map(({ start }) => start)).toEqual(["fresh", "warm", "warm"]);
    expect(outcomes.map(told)).toEqual([1, 2, 3]);
    expect(bench.pool.made).toHaveLength(1);
    expect(bench.pool.made[0]!.noted).toEqual(["1", "2", "3"]);
  });

  test("gives the sandbox what the configuration says", async () => {
    await using bench = new TableBench();
    await bench.call();
    const { spec } = bench.pool.made[0]!;
    expect(spec).toMatchObject({ lambdaName: "f", packages: [], zygoteId: null, concurrency: 1 });
    expect(spec.codeId).toMatch(/^f\/.+\/one$/);
  });

  test("answers calls in the order of arrival, one at a time per instance", async () => {
    await using bench = new TableBench({ sandboxes: 1 });
    const calls = Array.from({ length: 6 }, () => bench.begin());
    const order: string[] = [];
    for (const _ of calls) {
      await settle();
      expect(bench.pool.running).toHaveLength(1);
      order.push(bench.pool.running[0]!.body);
      bench.pool.running[0]!.answer(1);
    }
    expect(order).toEqual(calls.map(({ body }) => body));
    await settle();
    expect(bench.pool.made[0]!.peak).toBe(1);
  });

  test("starts as many instances as calls wait, so many at once as it may", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<void>();
    bench.pool.gate = gate.promise;
    const calls = Array.from({ length: 7 }, () => bench.begin());
    await settle();
    expect(bench.pool.creating).toBe(STARTS_PER_LAMBDA_MAX);
    gate.resolve();
    await settle();
    expect(bench.pool.made).toHaveLength(7);
    for (const call of calls) bench.answer(call);
    await settle();
    expect(calls.map(({ done }) => told(done))).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test("uses the instance that was used last", async () => {
    await using bench = new TableBench();
    const calls = [bench.begin(), bench.begin()];
    await settle();
    const places = calls.map((call) => bench.whereIs(call));
    for (const call of calls) {
      bench.answer(call);
      await settle();
    }
    const next = bench.begin();
    await settle();
    expect(bench.whereIs(next)).toBe(places[1]!);
    bench.answer(next);
  });

  test("gives a call that waits to an instance that is free before one that is new", async () => {
    await using bench = new TableBench();
    const first = bench.begin();
    await settle();
    bench.pool.gate = Promise.withResolvers<void>().promise;
    const second = bench.begin();
    bench.answer(first);
    await settle();
    expect(bench.whereIs(second)).toBe(bench.pool.made[0]!);
    bench.answer(second);
    expect(told(await second.outcome)).toBe(2);
  });

  test("tells what the lambda raised and keeps the instance", async () => {
    await using bench = new TableBench();
    const call = bench.begin();
    await settle();
    bench.fail(call, new OlError("lambda_exception", "ValueError"));
    const outcome = await call.outcome;
    expect([told(outcome), outcome.start, outcome.body]).toEqual([
      "lambda_exception",
      "fresh",
      null,
    ]);
    expect((await bench.call()).start).toBe("warm");
    expect(bench.pool.made).toHaveLength(1);
  });

  test("tells how a sandbox ended, and starts another for the calls that wait", async () => {
    await using bench = new TableBench({ sandboxes: 1 });
    const [first, second] = [bench.begin(), bench.begin()];
    await settle();
    await bench.pool.made[0]!.die(new OlError("sandbox_out_of_memory", "too much"));
    await settle();
    bench.answer(second);
    expect([told(await first.outcome), told(await second.outcome)]).toEqual([
      "sandbox_out_of_memory",
      2,
    ]);
    expect(second.done?.start).toBe("fresh");
  });
});

describe("the queue", () => {
  test("is bounded for the whole worker, and tells who comes in vain at once", async () => {
    await using bench = new TableBench({ sandboxes: 1, queueMax: 2 });
    bench.registry.put("g", "one");
    const running = bench.begin();
    await settle();
    const waiting = [bench.begin(), bench.begin("g")];
    await settle();
    const refused = [bench.begin(), bench.begin("g")];
    await settle();
    expect(refused.map(({ done }) => told(done))).toEqual(["queue_full", "queue_full"]);
    expect(refused[0]!.done?.error?.retryable).toBe(true);
    expect(bench.table.stats().calls.queued).toBe(2);
    bench.answer(running);
    await settle();
    bench.answer(waiting[0]!);
    await settle();
    bench.answer(waiting[1]!);
    expect(told(await waiting[1]!.outcome)).toBe(3);
    expect(bench.table.stats().calls.queued).toBe(0);
  });

  test("gives up the place of a client that hangs up, which is told once", async () => {
    await using bench = new TableBench({ sandboxes: 1, queueMax: 1 });
    const running = bench.begin();
    await settle();
    const gone = bench.begin();
    await settle();
    gone.hangUp();
    await settle();
    expect([told(gone.done), bench.table.stats().calls.queued]).toEqual(["cancelled", 0]);
    const next = bench.begin();
    bench.answer(running);
    await settle();
    expect(bench.pool.running.map(({ body }) => body)).toEqual([next.body]);
    bench.answer(next);
    expect(told(await next.outcome)).toBe(3);
  });

  test("lets a client hang up whose call runs already: it runs to its end", async () => {
    await using bench = new TableBench({ sandboxes: 1 });
    const queued = [bench.begin(), bench.begin()];
    await settle();
    bench.answer(queued[0]!);
    await settle();
    queued[1]!.hangUp();
    await settle();
    expect(queued[1]!.done).toBeNull();
    bench.answer(queued[1]!);
    expect(told(await queued[1]!.outcome)).toBe(2);
  });

  test("does not start a call whose client has hung up before it came in", async () => {
    await using bench = new TableBench();
    const call = bench.begin();
    call.hangUp();
    await settle();
    expect([told(call.done), bench.pool.made.length]).toEqual(["cancelled", 0]);
  });

  test("does not queue a call whose client has hung up already", async () => {
    await using bench = new TableBench({ sandboxes: 1 });
    const running = bench.begin();
    await settle();
    const abort = new AbortController();
    abort.abort();
    const call = bench.begin("f", abort);
    await settle();
    expect([told(call.done), bench.table.stats().calls.queued]).toEqual(["cancelled", 0]);
    bench.answer(running);
    expect(told(await running.outcome)).toBe(1);
  });

  test("does not run a call whose client hung up while the registry was asked", async () => {
    await using bench = new TableBench();
    await bench.call();
    await bench.pass(10_000);
    const gate = Promise.withResolvers<void>();
    bench.registry.gate = gate.promise;
    const call = bench.begin();
    await settle();
    call.hangUp();
    gate.resolve();
    await settle();
    const { running } = bench.pool;
    expect([running.length, told(call.done)]).toEqual([0, "cancelled"]);
  });
});

describe("a start that fails", () => {
  test("answers the call that has waited longest; the others get a try of their own", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<void>();
    bench.pool.gate = gate.promise;
    bench.pool.failures.push(new OlError("sandbox_create", "no"));
    const calls = Array.from({ length: 6 }, () => bench.begin());
    await settle();
    gate.resolve();
    await settle();
    for (const call of calls) bench.answer(call);
    await settle();
    expect(calls.map(({ done }) => told(done))).toEqual(["sandbox_create", 2, 3, 4, 5, 6]);
    expect(calls[0]!.done?.start).toBeNull();
  });

  test("answers each call once where every start fails, and gives all memory back", async () => {
    await using bench = new TableBench();
    const calls = Array.from({ length: 20 }, () => {
      bench.pool.failures.push(new OlError("engine_unavailable", "no"));
      return bench.begin();
    });
    await settle();
    await settle();
    expect(new Set(calls.map(({ done }) => told(done)))).toEqual(new Set(["engine_unavailable"]));
    bench.expectNothingLeft();
    expect(told(await bench.call())).toBe(21);
  });

  test("tells an error that is none of ours as internal", async () => {
    await using bench = new TableBench();
    bench.pool.failures.push(new TypeError("a bug"));
    const outcome = await bench.call();
    expect([told(outcome), outcome.error?.cause]).toEqual(["internal", new TypeError("a bug")]);
  });

  test("is nobody's where nobody waits any more", async () => {
    await using bench = new TableBench();
    bench.pool.failures.push(new OlError("sandbox_create", "no"));
    const gate = Promise.withResolvers<void>();
    bench.pool.gate = gate.promise;
    const call = bench.begin();
    await settle();
    call.hangUp();
    gate.resolve();
    await settle();
    expect(told(call.done)).toBe("cancelled");
    bench.expectNothingLeft();
  });
});
