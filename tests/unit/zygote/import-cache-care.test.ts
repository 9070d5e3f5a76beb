/** How the import cache looks after its zygotes: health, memory, time, and what was preloaded. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { InstalledPackages } from "../../../src/packages/contract.ts";
import { ImportCache, type ImportCacheOptions } from "../../../src/zygote/import-cache.ts";
import { FakeClock, FakeHost, MIB, packages } from "./fake-host.ts";

let host: FakeHost;
let clock: FakeClock;
/** What the cache asked to be called regularly. */
let sweep: () => void;

beforeEach(() => {
  host = new FakeHost();
  clock = new FakeClock();
});

const open = (more: Partial<ImportCacheOptions> = {}) =>
  new ImportCache({
    host,
    clock,
    budgetBytes: 1000 * MIB,
    every: (_intervalMs, run) => {
      sweep = run;
      return () => {};
    },
    ...more,
  });

async function coldStart(cache: ImportCache, installed: InstalledPackages): Promise<string | null> {
  clock.ms += 10;
  const lease = cache.acquire(installed);
  lease.release(lease.imports.reduce((sum, module) => sum + host.cost(module).us, 0));
  await cache.settled();
  return lease.zygote;
}

describe("a zygote on which lambdas fail", () => {
  const lambda = packages(["a"]);

  test("is ended after two first loads in a row, and made again only after a pause", async () => {
    const cache = open();
    await coldStart(cache, lambda);
    cache.acquire(lambda).failed();
    expect(cache.choose(lambda)).not.toBeNull();
    cache.acquire(lambda).failed();
    expect(cache.choose(lambda)).toBeNull();
    await coldStart(cache, lambda);
    expect(cache.choose(lambda)).toBeNull();
    clock.ms += 1_000;
    await coldStart(cache, lambda);
    expect(cache.choose(lambda)).not.toBeNull();
    expect(host.creations).toBe(2);
    expect(host.violations).toEqual([]);
  });

  test("is left to what it runs until that ends", async () => {
    const cache = open();
    await coldStart(cache, lambda);
    const [zygote] = host.zygotes.values();
    zygote!.handlers = 1;
    for (let round = 0; round < 2; round += 1) cache.acquire(lambda).failed();
    expect(cache.choose(lambda)).toBeNull();
    await cache.settled();
    expect(host.zygotes.size).toBe(1);
    zygote!.handlers = 0;
    sweep();
    await cache.settled();
    expect(host.zygotes.size).toBe(0);
  });

  test("is given up by the one lambda that fails on it, where it serves others", async () => {
    const cache = open();
    const other = packages(["a"]);
    await coldStart(cache, other);
    await coldStart(cache, other);
    for (let round = 0; round < 4; round += 1) cache.acquire(lambda).failed();
    expect(cache.choose(lambda)).toBeNull();
    expect(cache.choose(other)).not.toBeNull();
  });

  test("falls back to its parent for that lambda", async () => {
    const cache = open();
    const both = packages(["a", "b"]);
    await coldStart(cache, lambda);
    await coldStart(cache, both);
    const parent = cache.choose(lambda);
    const child = cache.choose(both);
    expect(child).not.toBe(parent);
    for (let round = 0; round < 2; round += 1) cache.acquire(both).failed();
    expect(cache.choose(both)).toBe(parent);
  });

  test("is not blamed where another one loads in between", async () => {
    const cache = open();
    await coldStart(cache, lambda);
    for (let round = 0; round < 4; round += 1) {
      cache.acquire(lambda).failed();
      await coldStart(cache, lambda);
    }
    expect(cache.choose(lambda)).not.toBeNull();
  });

  test("counts a failure once, and a lease that is merely given back not at all", async () => {
    const cache = open();
    await coldStart(cache, lambda);
    const lease = cache.acquire(lambda);
    lease.failed();
    lease.failed();
    lease.release(null);
    for (let round = 0; round < 4; round += 1) cache.acquire(lambda).release(null);
    expect(cache.choose(lambda)).not.toBeNull();
  });
});

describe("time", () => {
  const lambda = packages(["a"]);
  function kill(cache: ImportCache): void {
    const [id] = host.zygotes.keys();
    host.kill(id!);
    cache.zygoteGone(id!);
  }

  test("one that dies soon after it was made is made again with growing pauses", async () => {
    const cache = open();
    for (const pauseMs of [0, 1_000, 2_000, 4_000]) {
      clock.ms += Math.max(0, pauseMs - 20);
      await coldStart(cache, lambda);
      expect(host.zygotes.size).toBe(pauseMs === 0 ? 1 : 0);
      clock.ms += 20;
      await coldStart(cache, lambda);
      expect(host.zygotes.size).toBe(1);
      kill(cache);
    }
  });

  test("one that lived long is made again after the first pause", async () => {
    const cache = open();
    for (let round = 0; round < 3; round += 1) {
      await coldStart(cache, lambda);
      expect(host.zygotes.size).toBe(1);
      clock.ms += 600_000;
      kill(cache);
      clock.ms += 1_000;
    }
  });

  test("one lambda has at most one zygote in the making", async () => {
    let openGate = () => {};
    host.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    const cache = open();
    const need = packages(["a", "b"]);
    cache.acquire(packages(["a"])).release(null);
    for (let round = 0; round < 4; round += 1) {
      clock.ms += 10;
      cache.acquire(need).release(200_000);
    }
    expect(host.creations).toBe(1);
    openGate();
    await cache.settled();
  });

  test.each([
    [100_000, 10_000],
    [5_000_000, 20_000],
    [40_000_000, 60_000],
  ])("an import that took %d us may take %d ms in a zygote", async (importUs, timeoutMs) => {
    const cache = open();
    cache.acquire(lambda).release(importUs);
    await cache.settled();
    expect(host.specs.map((spec) => spec.timeoutMs)).toEqual([timeoutMs]);
  });
});

test("one whose better parent came while it was in use is moved there once it is idle", async () => {
  const cache = open();
  await coldStart(cache, packages(["numpy", "pandas"]));
  const [first] = host.zygotes.keys();
  host.zygotes.get(first!)!.handlers = 1;
  for (let round = 0; round < 3; round += 1) await coldStart(cache, packages(["numpy"]));
  const parents = () => cache.stats().zygotes.map(({ imports, parent }) => [imports, parent]);
  expect(parents()).toEqual([
    [["numpy", "pandas"], null],
    [["numpy"], null],
  ]);
  sweep();
  await cache.settled();
  expect(cache.stats().zygotes).toHaveLength(2);
  expect(host.zygotes.has(first!)).toBe(true);
  host.zygotes.get(first!)!.handlers = 0;
  sweep();
  await cache.settled();
  sweep();
  await cache.settled();
  const numpy = cache.stats().zygotes.find(({ parent }) => parent === null)!;
  expect(numpy.imports).toEqual(["numpy"]);
  expect(parents()).toEqual([
    [["numpy"], null],
    [["pandas"], numpy.id],
  ]);
  expect(host.violations).toEqual([]);
});

describe("memory", () => {
  test("a zygote gets what the budget leaves, and some room to load in", async () => {
    const cache = open({ budgetBytes: 100 * MIB });
    await coldStart(cache, packages(["a"]));
    await coldStart(cache, packages(["b"]));
    const [first = 0, second = 0] = host.specs.map((spec) => spec.memoryMaxBytes / MIB);
    expect([first, second]).toEqual([164, 154]);
  });

  test("one that grows later is found and ended", async () => {
    const cache = open({ budgetBytes: 50 * MIB });
    await coldStart(cache, packages(["a"]));
    host.costs.set("a", { us: 100_000, bytes: 60 * MIB });
    expect(host.zygotes.size).toBe(1);
    sweep();
    await cache.settled();
    expect(host.zygotes.size).toBe(0);
  });

  test("memoryBytes counts what is there and what is being made, and tells of each change", async () => {
    const told: number[] = [];
    const cache = open({ onMemory: (bytes) => told.push(bytes / MIB) });
    let openGate = () => {};
    host.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    cache.acquire(packages(["a"])).release(100_000);
    expect(cache.memoryBytes).toBe(16 * MIB);
    openGate();
    await cache.settled();
    expect(cache.memoryBytes).toBe(10 * MIB);
    expect(cache.releaseMemory(1)).toBe(10 * MIB);
    expect(cache.memoryBytes).toBe(10 * MIB);
    await cache.settled();
    expect(cache.memoryBytes).toBe(0);
    expect(told).toEqual([16, 10, 0]);
  });

  test("over budget with all in use, it asks for the users of the least useful", async () => {
    const asked: string[][] = [];
    const cache = open({ budgetBytes: 50 * MIB, onPinned: (ids) => asked.push([...ids]) });
    const [useful, rare] = [packages(["a"]), packages(["b"])];
    await coldStart(cache, rare);
    for (let round = 0; round < 5; round += 1) await coldStart(cache, useful);
    for (const zygote of host.zygotes.values()) zygote.handlers = 1;
    sweep();
    expect(asked).toEqual([]);
    for (const name of ["a", "b"]) host.costs.set(name, { us: 100_000, bytes: 30 * MIB });
    sweep();
    expect(asked).toEqual([[cache.choose(rare)!]]);
    // One that is lent at this moment is not asked for.
    const lease = cache.acquire(rare);
    sweep();
    expect(asked[1]).toEqual([cache.choose(useful)!]);
    lease.release(null);
  });
});

describe("preload()", () => {
  const startup = packages(["a", "b"]);

  test("is made good when a zygote dies, with pauses", async () => {
    const cache = open();
    await cache.preload(startup);
    const id = cache.choose(packages(["a"]))!;
    host.kill(id);
    cache.zygoteGone(id);
    sweep();
    await cache.settled();
    expect(cache.choose(packages(["a"]))).toBeNull();
    clock.ms += 1_000;
    sweep();
    await cache.settled();
    expect(cache.choose(packages(["a"]))).not.toBeNull();
    expect(host.creations).toBe(3);
    expect(cache.releaseMemory(1000 * MIB)).toBe(0);
  });

  test("is made good when all of them die with the root", async () => {
    const cache = open();
    await cache.preload(startup);
    const ids = Array.from(host.zygotes.keys());
    for (const id of ids) {
      host.kill(id);
      cache.zygoteGone(id);
    }
    for (let round = 0; round < 2; round += 1) {
      clock.ms += 1_000;
      sweep();
      await cache.settled();
    }
    expect(cache.choose(packages(["a"]))).not.toBeNull();
    expect(cache.choose(packages(["b"]))).not.toBeNull();
  });

  test("stops between two modules when the cache closes", async () => {
    const cache = open();
    let openGate = () => {};
    host.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    const loading = cache.preload(startup).catch(() => null);
    await cache.close();
    openGate();
    await loading;
    expect(host.creations).toBe(1);
    expect(host.zygotes.size).toBe(0);
  });
});

test("close() does not wait for imports that hang", async () => {
  host.gate = new Promise(() => {});
  const cache = open();
  cache.acquire(packages(["a"])).release(100_000);
  await cache.close();
  expect(host.zygotes.size).toBe(0);
});
