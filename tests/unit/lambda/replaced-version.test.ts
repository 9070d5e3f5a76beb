/** Code of a version that was replaced is there as long as anybody is on the way to it. */

import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { OlError } from "../../../src/common/errors.ts";
import { silentLogger } from "../../../src/common/log.ts";
import { VersionSource } from "../../../src/lambda/versions.ts";
import type { InstalledPackages } from "../../../src/packages/contract.ts";
import { FakeClock, FakeRegistry, settle } from "./fakes.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { CACHE_MS, TableBench, told } from "./table-bench.ts";

const NOTHING: InstalledPackages = { dirs: [], imports: [], units: [] };
const NUMPY: InstalledPackages = { ...NOTHING, dirs: [{ dir: "numpy-1", modules: ["numpy"] }] };

/** Turns that a call takes at most from the end of a wait to its instance. */
const TURNS_MAX = 40;

/** Lets removals that have begun come to their end: they are done off the test's path. */
async function removalsDone(bench: TableBench): Promise<void> {
  for (let round = 0; round < 10; round++) {
    await rm(mkdtempSync(bench.dir.join("other-")), { recursive: true });
  }
}

test("a start that fails leaves the code to the start that follows it", async () => {
  await using bench = new TableBench({ concurrency: 2 });
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  bench.pool.gate = first.promise;
  bench.pool.failures.push(new OlError("sandbox_create", "no"));
  const calls = [bench.begin(), bench.begin()];
  await settle();
  bench.installer.answers.set("two", Promise.withResolvers<InstalledPackages>().promise);
  bench.registry.put("f", "two");
  await bench.pass(CACHE_MS);
  const later = bench.begin();
  await settle();
  bench.pool.gate = second.promise;
  first.resolve();
  await settle();
  await removalsDone(bench);
  second.resolve();
  await settle();
  bench.answer(calls[1]!);
  await settle();
  expect(calls.map(({ done }) => told(done))).toEqual(["sandbox_create", 2]);
  later.hangUp();
});

test("a call never goes back to a version that was replaced while it waited", async () => {
  for (let turns = 0; turns < TURNS_MAX; turns++) {
    await using bench = new TableBench();
    const one = Promise.withResolvers<InstalledPackages>();
    const registry = Promise.withResolvers<void>();
    const creation = Promise.withResolvers<void>();
    bench.installer.answers.set("one", one.promise);
    bench.installer.answers.set(
      "two",
      creation.promise.then(() => NUMPY),
    );
    bench.pool.gate = creation.promise;
    const call = bench.begin();
    await settle();
    await bench.pass(CACHE_MS);
    bench.registry.put("f", "two");
    bench.registry.gate = registry.promise;
    const later = bench.begin();
    await settle();
    // The packages of the one are there, and the other is, so many turns later.
    one.resolve(NOTHING);
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    registry.resolve();
    await settle();
    await removalsDone(bench);
    creation.resolve();
    await settle();
    for (const tracked of [call, later]) bench.answer(tracked);
    await settle();
    expect([turns, told(call.done), told(later.done)]).toEqual([turns, 1, 2]);
    const twos = bench.pool.made.filter(({ spec }) => spec.codeId.endsWith("/two"));
    expect(twos.map(({ spec }) => spec.packages)).toEqual(twos.map(() => NUMPY.dirs));
  }
});

test("packages of a version that was replaced may fail: its calls get the new one", async () => {
  await using bench = new TableBench();
  const one = Promise.withResolvers<InstalledPackages>();
  bench.installer.answers.set("one", one.promise);
  const call = bench.begin();
  await settle();
  bench.registry.put("f", "two");
  await bench.pass(CACHE_MS);
  expect(told(await bench.call())).toBe(2);
  one.reject(new OlError("package_install", "pip"));
  await settle();
  bench.answer(call);
  expect(told(await call.outcome)).toBe(1);
  expect(bench.pool.made.map(({ spec }) => spec.codeId.endsWith("/two"))).toEqual([true]);
});

test("a version that is on its way when its source is closed leaves no code behind", async () => {
  using dir = tempDir();
  const registry = new FakeRegistry();
  registry.put("f", "one");
  const pull = Promise.withResolvers<void>();
  registry.pullGate = pull.promise;
  const parts = { registry, installer: null, clock: new FakeClock(), log: silentLogger };
  const source = new VersionSource("f", { ...parts, codeRoot: dir.path, cacheMs: CACHE_MS });
  const asked = source.current();
  await settle();
  expect(source.isChecking).toBe(true);
  source.close();
  pull.resolve();
  expect([await asked, source.inUse, source.isChecking]).toEqual([null, null, false]);
  await waitFor(() => readdirSync(dir.join("f")).length === 0, "the code is gone");
});
