/** What zygotes have to do with instances: blame, memory, eviction; what sandboxes have used. */

import { describe, expect, test } from "bun:test";
import { OlError } from "../../../src/common/errors.ts";
import { ImportCache } from "../../../src/zygote/import-cache.ts";
import { FakeHost, packages } from "../zygote/fake-host.ts";
import { FakeClock, LIMIT_BYTES, MIB, settle } from "./fakes.ts";
import { TableBench, told } from "./table-bench.ts";

/** A bench whose lambda needs a module that takes long to import; its zygote is there already. */
async function withZygote(
  sandboxes = 8,
): Promise<{ bench: TableBench; host: FakeHost; imports: ImportCache }> {
  const host = new FakeHost();
  const imports = new ImportCache({ host, clock: new FakeClock(), budgetBytes: 1_000 * MIB });
  const bench = new TableBench({ imports, sandboxes });
  bench.installer.answers.set("one", Promise.resolve(packages(["numpy"])));
  bench.pool.prepare = (sandbox) => {
    sandbox.importUs = sandbox.origin === "zygote" ? 500 : 100_000;
  };
  await bench.call();
  await imports.settled();
  expect(host.zygotes.size).toBe(1);
  await bench.pool.made[0]!.die();
  await settle();
  return { bench, host, imports };
}

describe("instances forked from a zygote", () => {
  test("are evicted when their zygote is to go, but not while they are busy", async () => {
    const { bench } = await withZygote();
    await using _ = bench;
    const calls = [bench.begin(), bench.begin()];
    await settle();
    bench.answer(calls[0]!);
    await settle();
    const { zygoteId } = bench.pool.made[1]!.spec;
    bench.table.freeZygotes(["another"]);
    await settle();
    expect(bench.pool.live).toBe(2);
    bench.table.freeZygotes([zygoteId!]);
    await settle();
    expect(bench.pool.made.map(({ state }) => state)).toEqual(["destroyed", "destroyed", "ready"]);
    bench.answer(calls[1]!);
    expect(told(await calls[1]!.outcome)).toBe(3);
  });

  test("that die before they are loaded are held against it until it is given up", async () => {
    const { bench, host, imports } = await withZygote();
    await using _ = bench;
    bench.pool.prepare = () => {};
    for (let call = 0; call < 20 && host.zygotes.size > 0; call++) {
      const tracked = bench.begin();
      await settle();
      await bench.pool.made.at(-1)!.die(new OlError("sandbox_died", "crash"));
      expect(told(await tracked.outcome)).toBe("sandbox_died");
      await imports.settled();
    }
    expect([host.zygotes.size, host.violations]).toEqual([0, []]);
  });
});

describe("memory of zygotes", () => {
  test("is not there to be promised; it is asked for after that of the idle", async () => {
    const { bench, host, imports } = await withZygote(1);
    await using _ = bench;
    expect(bench.table.stats().memory.zygoteBytes).toBe(0);
    bench.table.noteZygoteMemory(imports.memoryBytes);
    expect(bench.table.stats().memory.zygoteBytes).toBe(imports.memoryBytes);
    const call = bench.begin();
    await settle();
    // There is room for either: the zygote goes, and its memory with it.
    expect([host.zygotes.size, call.done]).toEqual([0, null]);
    bench.table.noteZygoteMemory(imports.memoryBytes);
    await settle();
    bench.answer(call);
    expect(told(await call.outcome)).toBe(2);
    expect(bench.reservedBytes).toBe(LIMIT_BYTES);
  });
});

describe("use of resources", () => {
  test("of sandboxes that are gone is summed up", async () => {
    await using bench = new TableBench();
    bench.pool.prepare = (sandbox) => {
      const usage = {
        memoryBytes: 1,
        memoryPeakBytes: 1,
        cpuUs: 30,
        throttledUs: 4,
        outOfMemoryKills: 1,
      };
      sandbox.usage = () => usage;
    };
    for (let time = 0; time < 2; time++) {
      await bench.call();
      await bench.pool.made.at(-1)!.die();
      await settle();
    }
    expect(bench.table.stats().sandboxes).toEqual({
      live: 0,
      paused: 0,
      busy: 0,
      outOfMemoryKills: 2,
      cpuUs: 60,
      throttledUs: 8,
    });
  });

  test("that cannot be read any more costs nothing but the figure", async () => {
    await using bench = new TableBench();
    bench.pool.prepare = (sandbox) => {
      sandbox.broken.usage = new Error("ENOENT");
    };
    const outcome = await bench.call();
    await bench.pool.made[0]!.die();
    await settle();
    expect([told(outcome), outcome.usage]).toEqual([1, undefined]);
    bench.expectNothingLeft();
    expect(bench.table.stats().sandboxes.cpuUs).toBe(0);
  });
});
