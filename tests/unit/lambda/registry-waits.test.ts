/** A registry or an installer that takes its time: who waits for it, who does not, who gives up. */

import { describe, expect, test } from "bun:test";
import { OlError } from "../../../src/common/errors.ts";
import { REGISTRY_PATIENCE_MS } from "../../../src/common/limits.ts";
import type { InstalledPackages } from "../../../src/packages/contract.ts";
import { settle } from "./fakes.ts";
import { CACHE_MS, TableBench, type Tracked, told } from "./table-bench.ts";

const NOTHING: InstalledPackages = { dirs: [], imports: [], units: [] };
const NUMPY: InstalledPackages = { ...NOTHING, dirs: [{ dir: "numpy-1", modules: ["numpy"] }] };

/** A bench whose lambda has answered once, so that its version is known to work, a while ago. */
async function inUse(): Promise<TableBench> {
  const bench = new TableBench();
  bench.pool.prepare = (sandbox) => {
    sandbox.importUs = 100;
  };
  await bench.call();
  await bench.pass(CACHE_MS);
  return bench;
}

/** Holds back every answer of the registry. @returns lets them go */
function hold(bench: TableBench): () => void {
  const gate = Promise.withResolvers<void>();
  bench.registry.gate = gate.promise;
  return () => {
    gate.resolve();
    bench.registry.gate = Promise.resolve();
  };
}

const versionOf = (bench: TableBench, call: Tracked): string | undefined =>
  bench.whereIs(call)?.spec.codeId.split("/").at(-1);

describe("a registry that is slow", () => {
  test("is waited for a while, then the version in use goes on", async () => {
    await using bench = await inUse();
    bench.registry.put("f", "two");
    const letGo = hold(bench);
    const call = bench.begin();
    await bench.pass(REGISTRY_PATIENCE_MS - 50);
    expect(bench.whereIs(call)).toBeNull();
    await bench.pass(100);
    expect(versionOf(bench, call)).toBe("one");
    bench.answer(call);
    letGo();
    await settle();
    expect((await bench.call()).start).toBe("fresh");
    expect(bench.pool.made).toHaveLength(2);
  });

  test("is not waited for a second time until it is quick again", async () => {
    await using bench = await inUse();
    const letGo = hold(bench);
    const first = bench.begin();
    await bench.pass(REGISTRY_PATIENCE_MS + 50);
    const second = bench.begin();
    await settle();
    expect([versionOf(bench, second), bench.registry.resolves]).toEqual(["one", 2]);
    letGo();
    await settle();
    // That answer was slow: the next question is asked behind the back of the call.
    await bench.pass(CACHE_MS);
    const next = hold(bench);
    const third = bench.begin();
    await settle();
    expect(versionOf(bench, third)).toBe("one");
    next();
    await settle();
    // And that one was quick: now it is waited for.
    await bench.pass(CACHE_MS);
    hold(bench)();
    bench.registry.put("f", "two");
    const fourth = bench.begin();
    await settle();
    expect(versionOf(bench, fourth)).toBe("two");
    for (const call of [first, second, third, fourth]) bench.answer(call);
  });

  test("is waited for where nothing is in use, within the bound of the queue", async () => {
    await using bench = new TableBench({ queueMax: 1 });
    const letGo = hold(bench);
    const call = bench.begin();
    await bench.pass(10 * REGISTRY_PATIENCE_MS);
    const refused = bench.begin();
    await settle();
    expect([call.done, told(refused.done), bench.table.stats().calls.queued]).toEqual([
      null,
      "queue_full",
      1,
    ]);
    letGo();
    await settle();
    bench.answer(call);
    expect(told(await call.outcome)).toBe(1);
    expect(bench.table.stats().calls.queued).toBe(0);
  });

  test("is waited for where what is in use never worked: it may be mended", async () => {
    await using bench = new TableBench();
    await bench.call();
    await bench.pass(CACHE_MS);
    bench.registry.put("f", "two");
    const letGo = hold(bench);
    const call = bench.begin();
    await bench.pass(10 * REGISTRY_PATIENCE_MS);
    expect([bench.whereIs(call), call.done]).toEqual([null, null]);
    letGo();
    await settle();
    expect(versionOf(bench, call)).toBe("two");
    bench.answer(call);
  });

  test("is not waited for by a client that has hung up already", async () => {
    await using bench = new TableBench();
    hold(bench);
    const abort = new AbortController();
    abort.abort();
    expect(told(await bench.begin("f", abort).outcome)).toBe("cancelled");
    expect(bench.registry.resolves).toBe(0);
  });

  test("is not waited for by a client that hangs up, nor by a worker that closes", async () => {
    await using bench = new TableBench();
    hold(bench);
    const calls = [bench.begin(), bench.begin()];
    await settle();
    calls[0]!.hangUp();
    await settle();
    expect(calls.map(({ done }) => told(done))).toEqual(["cancelled", "nothing yet"]);
    await bench.table.close();
    await settle();
    expect(calls.map(({ done }) => told(done))).toEqual(["cancelled", "draining"]);
    bench.expectNothingLeft();
  });

  test("that is away in the background is no unhandled failure", async () => {
    await using bench = await inUse();
    const letGo = hold(bench);
    const first = bench.begin();
    await bench.pass(REGISTRY_PATIENCE_MS + 50);
    bench.answer(first);
    bench.registry.broken = new OlError("registry_unavailable", "away");
    letGo();
    await settle();
    expect(told(await bench.call())).toBe(3);
  });
});

describe("packages of a version that replaces one that works", () => {
  test("are installed while the old one serves", async () => {
    await using bench = await inUse();
    const gate = Promise.withResolvers<InstalledPackages>();
    bench.installer.answers.set("two", gate.promise);
    bench.registry.put("f", "two");
    const before = bench.begin();
    await bench.pass(REGISTRY_PATIENCE_MS + 50);
    expect(versionOf(bench, before)).toBe("one");
    bench.answer(before);
    gate.resolve(NUMPY);
    await settle();
    const after = bench.begin();
    await settle();
    expect([versionOf(bench, after), bench.whereIs(after)?.spec.packages]).toEqual([
      "two",
      NUMPY.dirs,
    ]);
    bench.answer(after);
  });

  test("that cannot be installed make it known all the same", async () => {
    await using bench = await inUse();
    bench.installer.answers.set("two", Promise.reject(new OlError("package_install", "pip")));
    bench.registry.put("f", "two");
    expect(told(await bench.call())).toBe("package_install");
  });
});

describe("packages of a first version", () => {
  test("count as time of their own, not as the queue's", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<InstalledPackages>();
    bench.installer.answers.set("one", gate.promise);
    const call = bench.begin();
    await settle();
    bench.clock.us += 5_000_000;
    gate.resolve(NUMPY);
    await settle();
    bench.answer(call);
    expect((await call.outcome).timing).toMatchObject({ queueUs: 0, installUs: 5_000_000 });
    expect(bench.table.stats().stages.install.count).toBe(1);
  });

  test("are not waited for by a client that hangs up; others get them", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<InstalledPackages>();
    bench.installer.answers.set("one", gate.promise);
    const calls = [bench.begin(), bench.begin()];
    await settle();
    calls[0]!.hangUp();
    await settle();
    expect(told(calls[0]!.done)).toBe("cancelled");
    gate.resolve(NUMPY);
    await settle();
    bench.answer(calls[1]!);
    expect([told(await calls[1]!.outcome), bench.installer.asked.length]).toEqual([2, 1]);
  });
});
