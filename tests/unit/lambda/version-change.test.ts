/** New code, broken code, no code: what becomes of calls and instances when the registry changes. */

import { describe, expect, jest, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { OlError } from "../../../src/common/errors.ts";
import type { InstalledPackages } from "../../../src/packages/contract.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { type FakeSandbox, settle } from "./fakes.ts";
import { CACHE_MS, TableBench, type Tracked, told } from "./table-bench.ts";

const NUMPY: InstalledPackages = {
  dirs: [{ dir: "numpy-1", modules: ["numpy"] }],
  imports: ["numpy"],
  units: [],
};

/** The version of the code that a call runs, as the registry calls it. */
function codeOf(sandbox: FakeSandbox | null): string | undefined {
  return sandbox?.spec.codeId.split("/").at(-1);
}

const versionOf = (bench: TableBench, call: Tracked): string | undefined =>
  codeOf(bench.whereIs(call));

describe("a new version", () => {
  test("runs later calls, while a call in flight finishes on the old one", async () => {
    await using bench = new TableBench();
    const before = bench.begin();
    await settle();
    bench.registry.put("f", "two");
    await bench.pass(CACHE_MS);
    const after = bench.begin();
    await settle();
    expect([versionOf(bench, before), versionOf(bench, after)]).toEqual(["one", "two"]);
    bench.answer(before);
    bench.answer(after);
    expect([told(await before.outcome), told(await after.outcome)]).toEqual([1, 2]);
    await settle();
    expect(bench.pool.alive.map(codeOf)).toEqual(["two"]);
  });

  test("is not asked for before the cache's time is over", async () => {
    await using bench = new TableBench();
    await bench.call();
    bench.registry.put("f", "two");
    await bench.pass(CACHE_MS - 100);
    expect((await bench.call()).start).toBe("unpaused");
    await bench.pass(CACHE_MS);
    expect((await bench.call()).start).toBe("fresh");
  });

  test("ends the idle instances of the old one, and its code after the last of them", async () => {
    await using bench = new TableBench();
    const calls = [bench.begin(), bench.begin()];
    await settle();
    bench.answer(calls[0]!);
    const { codeDir } = bench.pool.made[0]!.spec;
    bench.registry.put("f", "two");
    await bench.pass(CACHE_MS);
    await bench.call();
    await settle();
    expect(bench.pool.made.map(({ isRemoved }) => isRemoved)).toEqual([true, false, false]);
    expect(existsSync(codeDir)).toBe(true);
    bench.answer(calls[1]!);
    await calls[1]!.outcome;
    jest.useRealTimers();
    await waitFor(() => !existsSync(codeDir), "the old code is gone");
  });

  test("is what a call in the queue gets where the old one has no instance left", async () => {
    await using bench = new TableBench({ sandboxes: 1 });
    const running = bench.begin();
    await settle();
    const waiting = bench.begin();
    bench.registry.put("f", "two");
    await bench.pass(CACHE_MS);
    const later = bench.begin();
    await settle();
    bench.answer(running);
    await settle();
    expect(versionOf(bench, waiting)).toBe("two");
    bench.answer(waiting);
    await settle();
    bench.answer(later);
    expect([told(await waiting.outcome), told(await later.outcome)]).toEqual([2, 3]);
  });

  test("that comes while an instance of the old one is made takes its place", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<void>();
    bench.pool.gate = gate.promise;
    const first = bench.begin();
    await settle();
    bench.registry.put("f", "two");
    await bench.pass(CACHE_MS);
    const second = bench.begin();
    await settle();
    gate.resolve();
    await settle();
    expect([versionOf(bench, first), versionOf(bench, second)]).toEqual(["two", "two"]);
    bench.answer(first);
    bench.answer(second);
    await settle();
    expect(bench.pool.alive.map(codeOf)).toEqual(["two", "two"]);
  });

  test("that cannot be fetched leaves the one in use in use", async () => {
    await using bench = new TableBench();
    await bench.call();
    bench.registry.put("f", "two");
    bench.registry.brokenPulls.push(new OlError("bundle_invalid", "no bundle"));
    await bench.pass(CACHE_MS);
    expect((await bench.call()).start).toBe("unpaused");
    bench.registry.broken = new OlError("registry_unavailable", "away");
    await bench.pass(CACHE_MS);
    expect((await bench.call()).start).toBe("unpaused");
    bench.registry.broken = null;
    await bench.pass(CACHE_MS);
    expect(told(await bench.call())).toBe(4);
    expect(codeOf(bench.pool.alive[0]!)).toBe("two");
  });
});

describe("a version whose instances cannot be started", () => {
  test("leaves no code behind when a newer one comes", async () => {
    await using bench = new TableBench();
    bench.pool.failures.push(new OlError("sandbox_create", "no"));
    expect(told(await bench.call())).toBe("sandbox_create");
    const codeDirs = bench.dir.join("code", "f");
    const [old] = readdirSync(codeDirs);
    bench.registry.put("f", "two");
    await bench.pass(CACHE_MS);
    await bench.call();
    jest.useRealTimers();
    await waitFor(() => !readdirSync(codeDirs).includes(old ?? ""), "the old code is gone");
  });
});

describe("packages of a new version", () => {
  test("are there before it runs, and a call waits for them", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<InstalledPackages>();
    bench.installer.answers.set("one", gate.promise);
    const call = bench.begin();
    await settle();
    expect(bench.pool.made).toHaveLength(0);
    gate.resolve(NUMPY);
    await settle();
    expect(bench.pool.made[0]!.spec.packages).toEqual(NUMPY.dirs);
    bench.answer(call);
    expect(told(await call.outcome)).toBe(1);
  });

  test("that cannot be installed are told to each caller, and tried again", async () => {
    await using bench = new TableBench();
    bench.installer.answers.set("one", Promise.reject(new OlError("package_install", "pip")));
    expect([told(await bench.call()), told(await bench.call())]).toEqual(
      Array(2).fill("package_install"),
    );
    bench.installer.answers.delete("one");
    expect(told(await bench.call())).toBe(3);
  });

  test("are those of the version that runs where a second one comes meanwhile", async () => {
    await using bench = new TableBench();
    await bench.call();
    const two = Promise.withResolvers<InstalledPackages>();
    const three = Promise.withResolvers<InstalledPackages>();
    bench.installer.answers.set("two", two.promise).set("three", three.promise);
    const calls: Tracked[] = [];
    for (const id of ["two", "three"]) {
      bench.registry.put("f", id);
      await bench.pass(CACHE_MS);
      calls.push(bench.begin());
      await settle();
    }
    two.resolve(NUMPY);
    await settle();
    three.resolve(NUMPY);
    await settle();
    for (const call of calls) bench.answer(call);
    expect((await Promise.all(calls.map(({ outcome }) => outcome))).map(told)).toEqual([2, 3]);
    expect(bench.pool.alive.map(({ spec }) => spec.packages)).toEqual([NUMPY.dirs, NUMPY.dirs]);
    expect(bench.pool.alive.map(codeOf)).toEqual(["three", "three"]);
  });

  test("may take longer than unused lambdas are remembered", async () => {
    await using bench = new TableBench();
    const gate = Promise.withResolvers<InstalledPackages>();
    bench.installer.answers.set("one", gate.promise);
    const call = bench.begin();
    await bench.pass(120_000);
    gate.resolve(NUMPY);
    await settle();
    bench.answer(call);
    expect([told(await call.outcome), bench.table.stats().lambdas]).toEqual([1, 1]);
  });
});

describe("a lambda that vanishes from the registry", () => {
  test("is unknown to later calls, while one in flight finishes", async () => {
    await using bench = new TableBench();
    const before = bench.begin();
    await settle();
    bench.registry.delete("f");
    await bench.pass(CACHE_MS);
    const after = bench.begin();
    await settle();
    expect(told(after.done)).toBe("lambda_unknown");
    bench.answer(before);
    expect(told(await before.outcome)).toBe(1);
  });

  test("keeps no instance, neither idle ones nor those that finish later", async () => {
    await using bench = new TableBench();
    const calls = [bench.begin(), bench.begin()];
    await settle();
    bench.answer(calls[0]!);
    bench.registry.delete("f");
    await bench.pass(CACHE_MS);
    expect(told(await bench.call())).toBe("lambda_unknown");
    await settle();
    bench.answer(calls[1]!);
    await settle();
    expect(told(calls[1]!.done)).toBe(2);
    bench.expectNothingLeft();
  });

  test("is unknown to calls in the queue too: none of them waits for ever", async () => {
    await using bench = new TableBench({ sandboxes: 1 });
    const running = bench.begin();
    await settle();
    const waiting = [bench.begin(), bench.begin()];
    bench.registry.delete("f");
    await bench.pass(CACHE_MS);
    expect(told(await bench.call())).toBe("lambda_unknown");
    await settle();
    expect(waiting.map(({ done }) => told(done))).toEqual(Array(2).fill("lambda_unknown"));
    bench.answer(running);
    await settle();
    expect(told(running.done)).toBe(1);
    bench.expectNothingLeft();
  });

  test("may come back", async () => {
    await using bench = new TableBench();
    await bench.call();
    bench.registry.delete("f");
    await bench.pass(CACHE_MS);
    expect(told(await bench.call())).toBe("lambda_unknown");
    bench.registry.put("f", "one");
    const outcome = await bench.call();
    expect([told(outcome), outcome.start]).toEqual([3, "fresh"]);
  });
});
