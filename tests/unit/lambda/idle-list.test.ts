/** The handler cache: who is paused, who is evicted, and that its books stay right. */

import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { IDLE_PAUSE_AFTER_MS, IDLE_SWEEP_INTERVAL_MS } from "../../../src/common/limits.ts";
import { IdleList } from "../../../src/lambda/idle-list.ts";
import { Instance } from "../../../src/lambda/instance.ts";
import { CodeVersion } from "../../../src/lambda/versions.ts";
import { MemoryPool } from "../../../src/sandbox/memory-pool.ts";
import { FakeClock, FakeSandbox, HELD_BYTES, LIMIT_BYTES, LIMITS, MIB, settle } from "./fakes.ts";

const SPEC = {
  lambdaName: "f",
  codeDir: "/none",
  codeId: "f/1",
  packages: [],
  zygoteId: null,
  limits: LIMITS,
  network: "none",
  env: {},
  concurrency: 1,
} as const;

const clock = new FakeClock();
const version = new CodeVersion("f", { id: "1" }, "/none", "f/1", null);
let memory: MemoryPool;
let list: IdleList;
let errors: unknown[];
let added: number;

/** A list that keeps as many paused sandboxes as hold that much. */
function open(maxBytes: number): void {
  memory = new MemoryPool(100 * LIMIT_BYTES, (missing) => list.reclaim(missing));
  list = new IdleList(
    maxBytes,
    clock,
    (error) => errors.push(error),
    () => {
      added += 1;
    },
  );
}

beforeEach(() => {
  jest.useFakeTimers();
  errors = [];
  added = 0;
  open(1_000 * MIB);
});
afterEach(() => {
  list.close();
  jest.useRealTimers();
});

/** An instance that has just become idle; it leaves the list when it is gone, as a lambda sees to. */
function idle(): { instance: Instance; sandbox: FakeSandbox } {
  const sandbox = new FakeSandbox("s", SPEC);
  expect(memory.tryReserve(LIMIT_BYTES)).toBe(true);
  version.acquire();
  const instance = new Instance(
    { version, sandbox, limits: LIMITS, memory, lease: null },
    (gone) => {
      list.take(gone);
    },
  );
  list.add(instance);
  return { instance, sandbox };
}

const states = (all: readonly { sandbox: FakeSandbox }[]): string[] =>
  all.map(({ sandbox }) => sandbox.state);

/** Adds that many and pauses them all. */
function paused(count: number): { instance: Instance; sandbox: FakeSandbox }[] {
  const all = Array.from({ length: count }, idle);
  clock.advanceMs(IDLE_PAUSE_AFTER_MS);
  list.sweep();
  return all;
}

describe("pausing", () => {
  test("sweep() pauses what was idle for long enough and nothing else", () => {
    const old = idle();
    clock.advanceMs(IDLE_PAUSE_AFTER_MS - 1);
    const young = idle();
    list.sweep();
    expect(states([old, young])).toEqual(["ready", "ready"]);
    clock.advanceMs(1);
    list.sweep();
    expect(states([old, young])).toEqual(["paused", "ready"]);
    expect(memory.reservedBytes).toBe(HELD_BYTES + LIMIT_BYTES);
  });

  test("sweep() happens by itself until the list is closed", () => {
    const first = idle();
    clock.advanceMs(IDLE_PAUSE_AFTER_MS);
    jest.advanceTimersByTime(IDLE_SWEEP_INTERVAL_MS);
    const second = idle();
    list.close();
    clock.advanceMs(IDLE_PAUSE_AFTER_MS);
    jest.advanceTimersByTime(10 * IDLE_SWEEP_INTERVAL_MS);
    expect(states([first, second])).toEqual(["paused", "ready"]);
  });

  test("sweep() leaves one alone that was taken, and starts anew when it comes back", () => {
    const one = idle();
    clock.advanceMs(IDLE_PAUSE_AFTER_MS);
    expect([list.take(one.instance), list.take(one.instance)]).toEqual([true, false]);
    list.sweep();
    list.add(one.instance);
    list.sweep();
    expect(states([one])).toEqual(["ready"]);
  });

  test("sweep() tells of one that cannot be paused, evicts it, and goes on with the next", async () => {
    const all = [idle(), idle()];
    all[0]!.sandbox.broken.pause = new Error("EIO");
    clock.advanceMs(IDLE_PAUSE_AFTER_MS);
    list.sweep();
    await settle();
    expect([errors, states(all), list.evictions]).toEqual([
      [new Error("EIO")],
      ["destroyed", "paused"],
      1,
    ]);
  });

  test("add() tells that there is something to reclaim", () => {
    idle();
    expect(added).toBe(1);
  });
});

describe("the size of the cache", () => {
  test("sweep() evicts the least recently used until what is held fits", async () => {
    open(3 * HELD_BYTES);
    const all = paused(5);
    await settle();
    expect(states(all)).toEqual(["destroyed", "destroyed", "paused", "paused", "paused"]);
    expect([memory.reservedBytes, list.evictions]).toEqual([3 * HELD_BYTES, 2]);
  });

  test("sweep() goes by what is really held", async () => {
    open(3 * HELD_BYTES);
    const all = [idle(), idle(), idle()];
    all[2]!.sandbox.heldBytes = 3 * HELD_BYTES;
    clock.advanceMs(IDLE_PAUSE_AFTER_MS);
    list.sweep();
    expect(states(all)).toEqual(["destroyed", "destroyed", "paused"]);
  });

  test("sweep() does not count those that run", () => {
    open(1);
    const all = Array.from({ length: 5 }, idle);
    list.sweep();
    expect(new Set(states(all))).toEqual(new Set(["ready"]));
  });

  test("isOn is false for a size of 0 only", () => {
    expect(list.isOn).toBe(true);
    list.close();
    open(0);
    expect(list.isOn).toBe(false);
  });

  test("sweep() does not count one that died while it was paused", async () => {
    open(2 * HELD_BYTES);
    const [dead] = paused(2);
    await dead!.sandbox.die();
    await settle();
    const others = paused(1);
    expect([states(others), list.evictions]).toEqual([["paused"], 0]);
    const more = paused(1);
    expect([states(others), states(more), list.evictions]).toEqual([["paused"], ["paused"], 1]);
  });

  test("sweep() counts one that came back paused, because it found no memory", () => {
    open(2 * HELD_BYTES);
    const all = paused(2);
    for (let time = 0; time < 3; time++) {
      list.take(all[0]!.instance);
      list.add(all[0]!.instance);
    }
    const more = paused(1);
    expect([states(all), states(more)]).toEqual([["paused", "destroyed"], ["paused"]]);
  });

  test("sweep() evicts none that runs: that would free nothing of the cache", () => {
    open(1);
    const one = idle();
    one.instance.pause();
    const running = idle();
    list.take(one.instance);
    list.add(one.instance);
    list.sweep();
    expect(states([running, one])).toEqual(["ready", "destroyed"]);
  });
});

describe("reclaim()", () => {
  test("pauses the least recently used, and no more than it takes", () => {
    const all = Array.from({ length: 4 }, idle);
    expect(list.reclaim(LIMIT_BYTES)).toBe(true);
    expect(states(all)).toEqual(["paused", "paused", "ready", "ready"]);
    expect([memory.reservedBytes, list.evictions]).toEqual([2 * HELD_BYTES + 2 * LIMIT_BYTES, 0]);
  });

  test("evicts the least recently used where pausing all is not enough", async () => {
    const all = Array.from({ length: 3 }, idle);
    expect(list.reclaim(3 * (LIMIT_BYTES - HELD_BYTES) + HELD_BYTES + 1)).toBe(true);
    expect(states(all)).toEqual(["destroyed", "destroyed", "paused"]);
    await settle();
    expect([memory.reservedBytes, list.evictions]).toEqual([HELD_BYTES, 2]);
  });

  test("counts what is on its way out, so that no more is evicted for it", async () => {
    const gate = Promise.withResolvers<void>();
    const all = paused(3);
    for (const { sandbox } of all) sandbox.destroyGate = gate.promise;
    expect(list.reclaim(HELD_BYTES)).toBe(true);
    expect(list.reclaim(HELD_BYTES)).toBe(true);
    expect(states(all)).toEqual(["destroyed", "paused", "paused"]);
    gate.resolve();
    await settle();
    list.reclaim(HELD_BYTES);
    expect(states(all)).toEqual(["destroyed", "destroyed", "paused"]);
  });

  test("says that there is nothing where there is nothing", () => {
    expect(list.reclaim(1)).toBe(false);
    const { instance } = idle();
    list.take(instance);
    expect(list.reclaim(1)).toBe(false);
  });

  test("takes what is there where that is not enough", () => {
    const all = [idle(), idle()];
    expect(list.reclaim(1_000 * LIMIT_BYTES)).toBe(true);
    expect(states(all)).toEqual(["destroyed", "destroyed"]);
  });

  test("evicts one that cannot be paused and goes on with the next", () => {
    const all = [idle(), idle()];
    all[0]!.sandbox.broken.pause = new Error("EIO");
    expect(list.reclaim(1)).toBe(true);
    expect([states(all), errors]).toEqual([["destroyed", "paused"], [new Error("EIO")]]);
  });
});
