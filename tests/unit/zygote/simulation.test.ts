/**
 * 500 lambdas whose package sets are drawn from a Zipf distribution over 40 packages, with budgets from
 * nothing to plenty. Deterministic; prints the curve when `SIMULATION_REPORT` is set.
 */

import { expect, test } from "bun:test";
import { ImportCache } from "../../../src/zygote/import-cache.ts";
import { FakeClock, FakeHost, MIB, packages } from "./fake-host.ts";

const LAMBDAS = 500;
const PACKAGES = 40;
const CALLS = 5_000;

/** mulberry32: small, seeded, good enough to draw from. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function zipf(count: number, draw: () => number): () => number {
  const cumulative: number[] = [];
  for (let rank = 1; rank <= count; rank += 1) cumulative.push((cumulative.at(-1) ?? 0) + 1 / rank);
  return () => {
    const at = draw() * (cumulative.at(-1) ?? 1);
    return cumulative.findIndex((value) => at <= value);
  };
}

async function simulate(budgetMib: number) {
  const draw = random(7);
  const popular = zipf(PACKAGES, draw);
  const host = new FakeHost();
  const clock = new FakeClock();
  const requires: Record<string, string[]> = {};
  for (let index = 0; index < PACKAGES; index += 1) {
    // Every third package builds on one of the first, as much of PyPI does on numpy.
    if (index % 3 === 2) requires[`p${index}`] = [`p${index % 2}`];
    host.costs.set(`p${index}`, {
      us: 5_000 + Math.floor(draw() * 300_000),
      bytes: Math.floor((4 + draw() * 40) * MIB),
    });
  }
  const lambdas = Array.from({ length: LAMBDAS }, () => {
    const size = 1 + Math.floor(draw() * 3);
    const names = new Set(Array.from({ length: size }, () => `p${popular()}`));
    return packages([...names], requires);
  });
  const cache = new ImportCache({ host, clock, budgetBytes: budgetMib * MIB });
  const which = zipf(LAMBDAS, draw);
  let rootUs = 0;
  let spentUs = 0;
  let peakBytes = 0;
  const planMs: number[] = [];
  for (let call = 0; call < CALLS; call += 1) {
    clock.ms += 20;
    const need = lambdas[which()]!;
    const lease = cache.acquire(need);
    const loaded = host.importsOf(lease.zygote);
    const importUs = need.units
      .filter(({ module }) => !loaded.has(module))
      .reduce((sum, { module }) => sum + host.cost(module).us, 0);
    rootUs += need.units.reduce((sum, { module }) => sum + host.cost(module).us, 0);
    spentUs += importUs;
    const before = performance.now();
    lease.release(importUs);
    planMs.push(performance.now() - before);
    await cache.settled();
    peakBytes = Math.max(peakBytes, cache.stats().memoryBytes);
  }
  const stats = cache.stats();
  expect(host.violations).toEqual([]);
  await cache.close();
  return {
    budgetMib,
    hitRate: stats.hits / (stats.hits + stats.misses),
    importTimeLeft: spentUs / rootUs,
    gain: rootUs / Math.max(1, spentUs),
    peakMib: peakBytes / MIB,
    creations: stats.creations,
    evictions: stats.evictions,
    zygotes: stats.zygotes.length,
    planP50Ms: planMs.toSorted((a, b) => a - b)[CALLS / 2],
    planP99Ms: planMs.toSorted((a, b) => a - b)[CALLS * 0.99],
  };
}

test("a budget pays: less import time the more memory, and never more than allowed", async () => {
  const rows = [];
  for (const budgetMib of [0, 64, 256, 512, 1024, 2048, 4096]) rows.push(await simulate(budgetMib));
  if (process.env["SIMULATION_REPORT"] !== undefined) {
    const shown = rows.map((row) =>
      JSON.stringify(row, (_, value) =>
        typeof value === "number" ? Math.round(value * 1000) / 1000 : value,
      ),
    );
    process.stderr.write(`${shown.join("\n")}\n`);
  }
  for (const row of rows) expect(row.peakMib).toBeLessThanOrEqual(Math.max(row.budgetMib, 0));
  const left = rows.map(({ importTimeLeft }) => importTimeLeft);
  expect(left[0]).toBe(1);
  for (const [index, now] of left.entries()) {
    if (index > 0) expect(now).toBeLessThan(left[index - 1]! + 0.02);
  }
  const gigabyte = rows.find(({ budgetMib }) => budgetMib === 1024)!;
  expect(gigabyte.hitRate).toBeGreaterThan(0.9);
  expect(gigabyte.gain).toBeGreaterThan(3);
  expect(gigabyte.creations).toBeLessThan(CALLS / 5);
}, 60_000);
