/** What a worker tells of itself, and what the import cache hears. */

import { describe, expect, test } from "bun:test";
import { OlError } from "../../../src/common/errors.ts";
import { ImportCache } from "../../../src/zygote/import-cache.ts";
import { FakeHost, packages } from "../zygote/fake-host.ts";
import { FakeClock, HELD_BYTES, LIMIT_BYTES, MIB, settle } from "./fakes.ts";
import { TableBench, told } from "./table-bench.ts";

describe("stats()", () => {
  test("counts calls, hits, misses, instances and memory", async () => {
    await using bench = new TableBench({ sandboxes: 2 });
    bench.registry.put("g", "one");
    await bench.call("f");
    await bench.call("f");
    await bench.pass(3_000);
    await bench.call("f");
    await bench.call("unknown");
    await bench.pass(3_000);
    const running = bench.begin("g");
    await settle();
    const stats = bench.table.stats();
    expect(stats).toMatchObject({
      uptimeMs: 6_000,
      calls: {
        total: 4,
        inFlight: 1,
        queued: 0,
        byStart: { warm: 1, unpaused: 1, zygote: 0, fresh: 1 },
        byError: { lambda_unknown: 1 },
      },
      caches: { handler: { hits: 2, misses: 2, evictions: 0 } },
      sandboxes: { live: 2, paused: 1, busy: 1 },
      memory: { poolBytes: 2 * LIMIT_BYTES, reservedBytes: LIMIT_BYTES + HELD_BYTES },
      lambdas: 2,
      zygotes: [],
    });
    expect(stats.memory.workerRssBytes).toBeGreaterThan(0);
    expect(stats.caches.install.misses).toBe(2);
    bench.answer(running);
  });

  test("tells where the time of a call went", async () => {
    await using bench = new TableBench();
    const registry = Promise.withResolvers<void>();
    const start = Promise.withResolvers<void>();
    bench.registry.gate = registry.promise;
    bench.pool.gate = start.promise;
    bench.pool.prepare = (sandbox) => {
      sandbox.importUs = 333;
    };
    const call = bench.begin();
    await settle();
    bench.clock.us += 100;
    registry.resolve();
    await settle();
    bench.clock.us += 2_000;
    start.resolve();
    await settle();
    bench.clock.us += 1_000;
    bench.answer(call);
    expect((await call.outcome).timing).toEqual({
      totalUs: 3_100,
      queueUs: 0,
      pullUs: 100,
      installUs: 0,
      sandboxUs: 2_000,
      importUs: 333,
      handlerUs: 7,
      guestUs: 660,
    });
  });

  test("counts a sandbox that was under way only from when a call waited for it", async () => {
    await using bench = new TableBench();
    const start = Promise.withResolvers<void>();
    bench.pool.gate = start.promise;
    const early = bench.begin();
    await settle();
    bench.clock.us += 5_000;
    const late = bench.begin();
    await settle();
    bench.clock.us += 1_000;
    start.resolve();
    await settle();
    for (const call of [early, late]) bench.answer(call);
    for (const [call, totalUs] of [
      [early, 6_000],
      [late, 1_000],
    ] as const) {
      const { timing } = await call.outcome;
      expect(timing).toMatchObject({ totalUs, queueUs: 0, sandboxUs: totalUs });
    }
  });
});

describe("the import cache", () => {
  /** A bench whose lambda needs a module that takes long to import, and its host of zygotes. */
  async function withImports(): Promise<{
    bench: TableBench;
    host: FakeHost;
    imports: ImportCache;
  }> {
    const host = new FakeHost();
    const imports = new ImportCache({ host, clock: new FakeClock(), budgetBytes: 1_000 * MIB });
    const bench = new TableBench({ imports });
    bench.installer.answers.set("one", Promise.resolve(packages(["numpy"])));
    bench.pool.prepare = (sandbox) => {
      sandbox.importUs = sandbox.origin === "zygote" ? 0 : 100_000;
    };
    return { bench, host, imports };
  }

  test("hears what imports took, and later instances come from a zygote", async () => {
    const { bench, host, imports } = await withImports();
    await using _ = bench;
    expect((await bench.call()).start).toBe("fresh");
    await imports.settled();
    expect([...host.zygotes.values()].map(({ spec }) => spec.imports)).toEqual([["numpy"]]);
    await bench.pool.made[0]!.die();
    await settle();
    expect((await bench.call()).start).toBe("zygote");
    expect(bench.table.stats().caches.import).toEqual({ hits: 1, misses: 1, evictions: 0 });
    expect(bench.table.stats().calls.byStart.zygote).toBe(1);
  });

  test("hears of a start that failed, without a time", async () => {
    const { bench, host, imports } = await withImports();
    await using _ = bench;
    bench.pool.failures.push(new OlError("sandbox_create", "no"));
    await bench.call();
    await imports.settled();
    expect(host.creations).toBe(0);
  });

  test("may end a zygote again after a start from it failed", async () => {
    const { bench, imports } = await withImports();
    await using _ = bench;
    await bench.call();
    await imports.settled();
    await bench.pool.made[0]!.die();
    await settle();
    bench.pool.failures.push(new OlError("sandbox_create", "no"));
    expect(told(await bench.call())).toBe("sandbox_create");
    expect(imports.releaseMemory(1)).toBeGreaterThan(0);
    await imports.settled();
  });

  test("hears what imports took also where the first call raised", async () => {
    const { bench, host, imports } = await withImports();
    await using _ = bench;
    const call = bench.begin();
    await settle();
    bench.fail(call, new OlError("lambda_exception", "ValueError"));
    await settle();
    await imports.settled();
    expect(host.creations).toBe(1);
  });
});
