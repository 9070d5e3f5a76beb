import { beforeEach, describe, expect, test } from "bun:test";
import type { InstalledPackages } from "../../../src/packages/contract.ts";
import { ImportCache, type ImportCacheOptions } from "../../../src/zygote/import-cache.ts";
import { FakeClock, FakeHost, MIB, packages } from "./fake-host.ts";

let host: FakeHost;
let clock: FakeClock;
beforeEach(() => {
  host = new FakeHost();
  clock = new FakeClock();
});
const open = (more: Partial<ImportCacheOptions> = {}) =>
  new ImportCache({ host, clock, budgetBytes: 1000 * MIB, ...more });

/** One cold start: forks, imports what is missing, and goes. */
async function coldStart(cache: ImportCache, installed: InstalledPackages): Promise<string | null> {
  const lease = cache.acquire(installed);
  lease.release(lease.imports.reduce((sum, module) => sum + host.cost(module).us, 0));
  await cache.settled();
  return lease.zygote;
}
const modules = (id: string | null) => [...host.importsOf(id)].toSorted();

describe("acquire()", () => {
  test("lends the root first and a zygote with everything from then on", async () => {
    const cache = open();
    const lambda = packages(["numpy"]);
    expect(await coldStart(cache, lambda)).toBeNull();
    const zygote = await coldStart(cache, lambda);
    expect(modules(zygote)).toEqual(["numpy"]);
    expect(cache.stats()).toMatchObject({ hits: 1, misses: 1, creations: 1 });
    expect(cache.stats().zygotes[0]).toMatchObject({
      id: zygote!,
      parent: null,
      hits: 1,
      importUs: 100_000,
    });
  });

  test("says what is left to import", async () => {
    const cache = open();
    await coldStart(cache, packages(["numpy"]));
    const lease = cache.acquire(packages(["numpy", "requests"]));
    expect(modules(lease.zygote)).toEqual(["numpy"]);
    expect(lease.imports).toEqual(["requests"]);
    lease.release(null);
  });

  test("never lends a superset, nor another version", async () => {
    const cache = open();
    await coldStart(cache, packages(["numpy@1", "requests"]));
    expect(cache.choose(packages(["numpy@1", "requests"]))).not.toBeNull();
    expect(cache.choose(packages(["numpy@1"]))).toBeNull();
    expect(cache.choose(packages(["numpy@2", "requests"]))).toBeNull();
  });

  test("does not lend a zygote that lacks an optional dependency which the lambda has", async () => {
    const cache = open();
    await coldStart(cache, packages(["requests"]));
    expect(cache.choose(packages(["requests", "chardet"], { requests: ["chardet"] }))).toBeNull();
  });

  test("forks a package from a zygote of its dependency", async () => {
    const cache = open();
    const requires = { pandas: ["numpy"] };
    await coldStart(cache, packages(["numpy"]));
    await coldStart(cache, packages(["pandas"], requires));
    const zygote = cache.choose(packages(["pandas"], requires));
    expect(modules(zygote)).toEqual(["numpy", "pandas"]);
    expect(cache.stats().zygotes).toHaveLength(2);
    const [first, second] = cache.stats().zygotes;
    expect(second?.parent).toBe(first!.id);
    expect([first?.imports, second?.imports]).toEqual([["numpy"], ["pandas"]]);
  });

  test("has nothing for a lambda without packages, and does not count it", () => {
    const cache = open();
    expect(cache.acquire(packages([])).zygote).toBeNull();
    expect(cache.stats()).toMatchObject({ hits: 0, misses: 0 });
  });

  test("makes nothing for imports that take no time", async () => {
    host.costs.set("six", { us: 500, bytes: MIB });
    const cache = open();
    await coldStart(cache, packages(["six"]));
    expect(host.creations).toBe(0);
  });

  test("makes nothing after a cold start that failed", async () => {
    const cache = open();
    cache.acquire(packages(["numpy"])).release(null);
    await cache.settled();
    expect(host.creations).toBe(0);
  });

  test("is off with a budget of 0", async () => {
    const cache = open({ budgetBytes: 0 });
    await coldStart(cache, packages(["numpy"]));
    expect(await coldStart(cache, packages(["numpy"]))).toBeNull();
    expect(host.creations).toBe(0);
  });
});

describe("the tree", () => {
  test("gets a zygote for what two lambdas share, and their own below it", async () => {
    const cache = open();
    const first = packages(["numpy", "requests"]);
    const second = packages(["numpy", "flask"]);
    for (let round = 0; round < 6; round += 1) {
      await coldStart(cache, first);
      await coldStart(cache, second);
    }
    expect(modules(cache.choose(packages(["numpy", "other"])))).toEqual(["numpy"]);
    expect(modules(cache.choose(first))).toEqual(["numpy", "requests"]);
    expect(modules(cache.choose(second))).toEqual(["flask", "numpy"]);
    const { zygotes } = cache.stats();
    expect(zygotes.filter(({ parent }) => parent === null)).toHaveLength(1);
    expect(zygotes).toHaveLength(3);
  });

  test("gets a zygote with all 64 modules of one small distribution", async () => {
    const names = Array.from({ length: 64 }, (_, index) => `google.api.part${index}_pb2`);
    for (const name of names) host.costs.set(name, { us: 500, bytes: MIB / 4 });
    const dirs = ["googleapis"];
    const installed: InstalledPackages = {
      dirs: [{ dir: "googleapis", modules: names }],
      imports: names,
      units: names.map((one) => ({ module: one, dirs, declared: true, standard: true })),
    };
    const cache = open({ budgetBytes: 200 * MIB });
    await coldStart(cache, installed);
    expect(modules(await coldStart(cache, installed))).toEqual(names.toSorted());
    expect(host.specs[0]!.memoryMaxBytes).toBeGreaterThan(0);
    // Once it is known, it is taken to need what it needed.
    host.kill("zygote-1");
    cache.zygoteGone("zygote-1");
    await cache.settled();
    clock.ms += 2000;
    host.gate = new Promise(() => {});
    cache.acquire(installed).release(32_000);
    expect(cache.memoryBytes / MIB).toBeCloseTo(16, 0);
  });

  test("shares one creation among calls at once, and bounds how many run", async () => {
    let openGate = () => {};
    host.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    const cache = open();
    for (const name of ["a", "a", "b", "c", "d"]) cache.acquire(packages([name])).release(100_000);
    expect(host.creations).toBe(2);
    openGate();
    await cache.settled();
    expect(host.zygotes.size).toBe(2);
  });

  test("never grows deeper than the limit", async () => {
    const cache = open();
    const names = Array.from({ length: 12 }, (_, index) => `m${index}`);
    for (let count = 1; count <= names.length; count += 1) {
      await coldStart(cache, packages(names.slice(0, count)));
    }
    const parents = new Map(cache.stats().zygotes.map(({ id, parent }) => [id, parent]));
    const depth = (id: string | null): number =>
      id === null ? 0 : 1 + depth(parents.get(id) ?? null);
    expect(Math.max(...[...parents.keys()].map(depth))).toBe(8);
    expect(modules(cache.choose(packages(names)))).toHaveLength(names.length);
  });
});

describe("memory", () => {
  const one = packages(["a"]);
  const two = packages(["b"]);

  test("keeps within the budget by ending the least useful", async () => {
    const cache = open({ budgetBytes: 17 * MIB });
    await coldStart(cache, one);
    for (let round = 0; round < 4; round += 1) {
      clock.ms += 5_000;
      await coldStart(cache, two);
    }
    expect(cache.choose(one)).toBeNull();
    expect(cache.choose(two)).not.toBeNull();
    expect(cache.stats()).toMatchObject({ evictions: 1, memoryBytes: 10 * MIB });
  });

  test("does not end a useful one for a rare one", async () => {
    const cache = open({ budgetBytes: 17 * MIB });
    for (let round = 0; round < 9; round += 1) await coldStart(cache, one);
    await coldStart(cache, two);
    expect(cache.choose(one)).not.toBeNull();
  });

  test("forgets old demand", async () => {
    const cache = open({ budgetBytes: 17 * MIB });
    for (let round = 0; round < 9; round += 1) await coldStart(cache, one);
    clock.ms += 24 * 3_600_000;
    for (let round = 0; round < 3; round += 1) {
      clock.ms += 5_000;
      await coldStart(cache, two);
    }
    expect(cache.choose(two)).not.toBeNull();
  });

  test("never ends one in use, nor one that is lent", async () => {
    const cache = open();
    await coldStart(cache, one);
    await coldStart(cache, two);
    const lease = cache.acquire(one);
    host.zygotes.get(cache.choose(two)!)!.handlers = 1;
    expect(cache.releaseMemory(1000 * MIB)).toBe(0);
    lease.release(0);
    expect(cache.releaseMemory(1000 * MIB)).toBe(10 * MIB);
    await cache.settled();
    expect(cache.choose(one)).toBeNull();
    expect(cache.choose(two)).not.toBeNull();
    expect(host.violations).toEqual([]);
  });

  test("ends one that grew beyond what was expected", async () => {
    host.costs.set("a", { us: 100_000, bytes: 50 * MIB });
    const cache = open({ budgetBytes: 20 * MIB });
    await coldStart(cache, one);
    expect(host.zygotes.size).toBe(0);
  });
});

describe("faults", () => {
  test("a zygote that was killed goes with all below it, and is made again", async () => {
    const cache = open();
    const child = packages(["a", "b"]);
    await coldStart(cache, packages(["a"]));
    await coldStart(cache, child);
    const [top] = cache.stats().zygotes;
    host.kill(top!.id);
    cache.zygoteGone(top!.id);
    expect(cache.stats()).toMatchObject({ deaths: 1, zygotes: [] });
    clock.ms += 1_000;
    await coldStart(cache, child);
    expect(cache.choose(child)).not.toBeNull();
  });

  test("an import that raises is not tried at each call, but again later", async () => {
    const failures: string[] = [];
    const cache = open({ onFailure: (names) => failures.push(names.join()) });
    host.broken.add("a");
    const lambda = packages(["a"]);
    for (let round = 0; round < 5; round += 1) await coldStart(cache, lambda);
    expect(host.creations).toBe(1);
    clock.ms += 1_000;
    await coldStart(cache, lambda);
    clock.ms += 1_999;
    await coldStart(cache, lambda);
    expect(host.creations).toBe(2);
    host.broken.clear();
    clock.ms += 1;
    await coldStart(cache, lambda);
    expect(cache.choose(lambda)).not.toBeNull();
    expect(failures).toEqual(["a", "a"]);
  });

  test("a parent that dies while its child is being made leaves no child behind", async () => {
    const cache = open();
    await coldStart(cache, packages(["a"]));
    const parent = cache.choose(packages(["a"]))!;
    let openGate = () => {};
    host.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    cache.acquire(packages(["a", "b"])).release(100_000);
    cache.zygoteGone(parent);
    openGate();
    await cache.settled();
    expect(cache.stats()).toMatchObject({ failures: 1, zygotes: [] });
    expect(host.zygotes.size).toBe(0);
  });

  test("a lease outlives its zygote", async () => {
    const cache = open();
    await coldStart(cache, packages(["a"]));
    const lease = cache.acquire(packages(["a"]));
    cache.zygoteGone(lease.zygote!);
    lease.release(5);
    lease.release(5);
    cache.zygoteGone("never-was");
    expect(cache.stats().deaths).toBe(1);
  });

  test("a guest that lies about its import time is not believed without bound", async () => {
    const cache = open();
    for (const lie of [Number.NaN, -5, Number.POSITIVE_INFINITY]) {
      cache.acquire(packages([`x${lie}`])).release(lie);
      await cache.settled();
    }
    expect(host.creations).toBe(0);
    cache.acquire(packages(["y"])).release(1e30);
    await cache.settled();
    expect(host.creations).toBe(1);
  });
});

test("preload() makes one zygote for each module and keeps it", async () => {
  const cache = open();
  await cache.preload(packages(["pandas", "requests"], { pandas: ["numpy"] }));
  expect(modules(cache.choose(packages(["pandas"], { pandas: ["numpy"] })))).toEqual(["pandas"]);
  expect(cache.choose(packages(["requests"]))).not.toBeNull();
  expect(cache.releaseMemory(1000 * MIB)).toBe(0);
});

test("preload() says what could not be imported", async () => {
  host.broken.add("a");
  expect(open().preload(packages(["a"]))).rejects.toThrow("import raised");
});

test("close() ends everything and lends nothing afterwards", async () => {
  const cache = open();
  await coldStart(cache, packages(["a"]));
  await coldStart(cache, packages(["a", "b"]));
  await cache.close();
  expect(host.zygotes.size).toBe(0);
  expect(cache.acquire(packages(["a"])).zygote).toBeNull();
});
