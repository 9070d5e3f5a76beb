/** Thawing and starting with little memory: who gets it, and that nothing is lost where neither works. */

import { describe, expect, test } from "bun:test";
import { OlError } from "../../../src/common/errors.ts";
import { IDLE_PAUSE_AFTER_MS } from "../../../src/common/limits.ts";
import { HELD_BYTES, LIMIT_BYTES, settle } from "./fakes.ts";
import { TableBench, type Tracked, told } from "./table-bench.ts";

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

describe("thawing", () => {
  /** `f` paused, `g` running a call, and no memory beside. */
  async function tight(bench: TableBench): Promise<Tracked> {
    await bench.call("f");
    await bench.pass(PAUSED_AFTER_MS);
    const busy = bench.begin("g");
    await settle();
    expect(statesOf(bench)).toEqual(["paused", "ready"]);
    return busy;
  }

  test("waits for memory where there is none, and nobody loses anything", async () => {
    await using bench = open({ sandboxes: 1.5 });
    const busy = await tight(bench);
    const call = bench.begin("f");
    await settle();
    expect(call.done).toBeNull();
    bench.answer(busy);
    await settle();
    bench.answer(call);
    expect(told(await call.outcome)).toBe(3);
    await settle();
    expect(bench.reservedBytes).toBeLessThanOrEqual(1.5 * LIMIT_BYTES);
  });

  test("that is refused leaves the instance as it was: it can be thawed later", async () => {
    await using bench = open({ sandboxes: 1.5 });
    const busy = await tight(bench);
    const call = bench.begin("f");
    call.hangUp();
    await settle();
    bench.answer(busy);
    await settle();
    expect(told(call.done)).toBe("cancelled");
    const again = await bench.call("f");
    expect(told(again)).toBe(4);
  });

  test("that the host refuses costs the instance, not the call", async () => {
    await using bench = open({});
    await bench.call();
    await bench.pass(PAUSED_AFTER_MS);
    bench.pool.made[0]!.broken.unpause = new Error("EIO");
    const outcome = await bench.call();
    expect([told(outcome), outcome.start]).toEqual([2, "fresh"]);
    await settle();
    expect([statesOf(bench), bench.reservedBytes]).toEqual([["destroyed", "ready"], LIMIT_BYTES]);
  });

  test("takes the next one where the host refuses the first", async () => {
    await using bench = open({});
    const calls = [bench.begin(), bench.begin()];
    await settle();
    for (const call of calls) bench.answer(call);
    await bench.pass(PAUSED_AFTER_MS);
    bench.pool.made[1]!.broken.unpause = new Error("EIO");
    const outcome = await bench.call();
    expect([told(outcome), outcome.start]).toEqual([3, "unpaused"]);
    expect(statesOf(bench)).toEqual(["ready", "destroyed"]);
  });
});

describe("order", () => {
  test("is kept where an instance could be thawed while a call waits for a new one", async () => {
    await using bench = open({ sandboxes: 2.25 });
    await bench.call("h");
    bench.pool.made[0]!.heldBytes = 2 * HELD_BYTES;
    await bench.pass(100);
    await bench.call("f");
    await bench.pass(PAUSED_AFTER_MS);
    const busy = bench.begin("g");
    await settle();
    // No memory to thaw that of `f`; room for a new one comes with the end of that of `h`.
    const creation = Promise.withResolvers<void>();
    bench.pool.gate = creation.promise;
    const first = bench.begin("f");
    await settle();
    expect(statesOf(bench)).toEqual(["destroyed", "paused", "ready"]);
    bench.answer(busy);
    await bench.pass(PAUSED_AFTER_MS);
    const second = bench.begin("f");
    await settle();
    expect([bench.whereIs(first), bench.whereIs(second)]).toEqual([null, null]);
    creation.resolve();
    await settle();
    expect(bench.whereIs(first)?.id).toBe("sandbox-4");
    for (const call of [first, second]) {
      bench.answer(call);
      await settle();
      expect(told(call.done)).toBe(Number(call.body));
    }
  });
});

describe("memory of a start that fails", () => {
  test("is given back, for each error once", async () => {
    await using bench = open({ sandboxes: 2 });
    for (const error of [new OlError("sandbox_create", "no"), new TypeError("a bug")]) {
      bench.pool.failures.push(error);
      await bench.call();
      bench.expectNothingLeft();
    }
    expect(told(await bench.call())).toBe(3);
  });

  test("is given back when the sandbox dies before it is used", async () => {
    await using bench = open({ sandboxes: 1 });
    let deaths = 0;
    bench.pool.prepare = (sandbox) => {
      deaths += 1;
      if (deaths < 4) void sandbox.die();
    };
    const call = bench.begin();
    await settle();
    bench.answer(call);
    expect([told(await call.outcome), deaths]).toEqual([1, 4]);
    await settle();
    expect(bench.reservedBytes).toBe(LIMIT_BYTES);
  });
});
