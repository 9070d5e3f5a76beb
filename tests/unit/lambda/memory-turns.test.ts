/** Lambdas that compete for memory: none can keep it for ever, and none loses it for nothing. */

import { describe, expect, test } from "bun:test";
import { INSTANCE_TURN_MS, POOL_WAIT_MAX_MS } from "../../../src/common/limits.ts";
import { settle } from "./fakes.ts";
import { type BenchOptions, TableBench, type Tracked, told } from "./table-bench.ts";

/** A bench with lambdas `f`, `g` and `h`. */
function open(options: BenchOptions): TableBench {
  const bench = new TableBench(options);
  for (const name of ["g", "h"]) bench.registry.put(name, "one");
  return bench;
}

/** Clients of one lambda who call again as soon as they have an answer. */
class Flood {
  readonly #bench: TableBench;
  readonly #name: string;
  readonly #calls: Tracked[];
  answered = 0;

  constructor(bench: TableBench, name: string, clients: number) {
    this.#bench = bench;
    this.#name = name;
    this.#calls = Array.from({ length: clients }, () => bench.begin(name));
  }

  /** Answers what runs, and has each of those clients call again. */
  async turn(): Promise<void> {
    for (const call of this.#calls.filter((one) => this.#bench.whereIs(one) !== null)) {
      this.#bench.answer(call);
      await settle();
      this.answered += 1;
      this.#calls.splice(this.#calls.indexOf(call), 1, this.#bench.begin(this.#name));
      await settle();
    }
  }
}

/** Lets a flood go on until a call runs. @returns how long that took, in milliseconds */
async function waitOf(bench: TableBench, flood: Flood, call: Tracked): Promise<number> {
  for (let waitedMs = 0; waitedMs < POOL_WAIT_MAX_MS; waitedMs += 50) {
    if (bench.whereIs(call) !== null) return waitedMs;
    await flood.turn();
    await bench.pass(50);
  }
  return POOL_WAIT_MAX_MS;
}

const madeFor = (bench: TableBench, name: string): number =>
  bench.pool.made.filter(({ spec }) => spec.lambdaName === name).length;

describe("a lambda whose calls never end", () => {
  test.each([
    ["each an instance", { sandboxes: 2 }],
    ["several to an instance", { sandboxes: 2, concurrency: 3 }],
    ["without a handler cache", { sandboxes: 2, cached: 0 }],
  ])("leaves another one the next place: %s", async (_what, options) => {
    await using bench = open(options);
    const flood = new Flood(bench, "f", 20);
    await bench.pass(INSTANCE_TURN_MS + 50);
    await flood.turn();
    const call = bench.begin("g");
    expect(await waitOf(bench, flood, call)).toBeLessThanOrEqual(100);
    bench.answer(call);
    expect(told(await call.outcome)).toBe(Number(call.body));
  });

  test("leaves it too where its instance always has a free place", async () => {
    await using bench = open({ sandboxes: 1, concurrency: 3 });
    const flood = new Flood(bench, "f", 2);
    await bench.pass(INSTANCE_TURN_MS + 50);
    const call = bench.begin("g");
    expect(await waitOf(bench, flood, call)).toBeLessThanOrEqual(100);
    bench.answer(call);
  });

  test("gives up one instance for one that is wanted", async () => {
    await using bench = open({ sandboxes: 4 });
    const flood = new Flood(bench, "f", 20);
    await bench.pass(INSTANCE_TURN_MS + 50);
    const gate = Promise.withResolvers<void>();
    for (const sandbox of bench.pool.made) sandbox.destroyGate = gate.promise;
    const call = bench.begin("g");
    for (let turn = 0; turn < 5; turn++) await flood.turn();
    const states = bench.pool.made.map(({ state }) => state);
    expect(states.filter((state) => state === "destroyed")).toHaveLength(1);
    gate.resolve();
    await settle();
    expect(bench.whereIs(call)).not.toBeNull();
    bench.answer(call);
  });

  test("serves on for its turn before it gives an instance up", async () => {
    await using bench = open({ sandboxes: 1 });
    const floods = [new Flood(bench, "f", 5), new Flood(bench, "g", 5)] as const;
    const lengthMs = 8 * INSTANCE_TURN_MS;
    for (let ms = 0; ms < lengthMs; ms += 10) {
      await bench.pass(10);
      for (const flood of floods) await flood.turn();
    }
    expect(bench.pool.made.length).toBeLessThanOrEqual(lengthMs / INSTANCE_TURN_MS + 1);
    for (const { answered } of floods) expect(answered).toBeGreaterThan(lengthMs / 10 / 3);
  });

  test("keeps its instances while nobody else waits", async () => {
    await using bench = open({ sandboxes: 2 });
    const flood = new Flood(bench, "f", 20);
    for (let turn = 0; turn < 20; turn++) {
      await bench.pass(INSTANCE_TURN_MS);
      await flood.turn();
    }
    expect(bench.pool.made).toHaveLength(2);
  });
});

test("lambdas take turns, however many starts of one wait", async () => {
  await using bench = open({ sandboxes: 1 });
  const running = bench.begin("h");
  await settle();
  for (let call = 0; call < 10; call++) bench.begin("f");
  await settle();
  const late = bench.begin("g");
  await settle();
  bench.answer(running);
  await settle();
  expect([madeFor(bench, "f"), madeFor(bench, "g")]).toEqual([1, 0]);
  await bench.pass(INSTANCE_TURN_MS);
  bench.pool.running[0]?.answer();
  await settle();
  expect(bench.whereIs(late)).not.toBeNull();
});
