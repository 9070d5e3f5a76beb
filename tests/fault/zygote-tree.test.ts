/** Trees of real zygotes with small packages: depth, eviction, and what a lambda finds imported. FAULTS F. */

import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";

import { type Clock, systemClock } from "../../src/common/clock.ts";
import { ZYGOTE_DEPTH_MAX } from "../../src/common/zygote-limits.ts";
import type { InstalledPackages } from "../../src/packages/contract.ts";
import type { Sandbox } from "../../src/sandbox/contract.ts";
import { ImportCache } from "../../src/zygote/import-cache.ts";
import { OlError } from "../../src/common/errors.ts";
import { isRunning, processesBelow, signalExactly } from "../helpers/worker-processes.ts";
import { seededRandom } from "../helpers/random.ts";
import { EngineBench } from "./engine-bench.ts";
import { addCode, addPackage, installed } from "./package-fixtures.ts";
import { scaled } from "../helpers/wait-for.ts";

// Dozens of zygotes, on a machine that may be busy.
setDefaultTimeout(scaled(60_000));

const MIB = 1024 ** 2;
const NAMES = Array.from({ length: 12 }, (_, index) => `olm${String.fromCharCode(97 + index)}`);
/**
 * Holds 4 MiB of its own; a zygote with one of them and two spares takes some 12. Its import takes several times
 * as long as makes a zygote worth its memory (`ZYGOTE_WORTH_MIN_US`), on every machine.
 */
const SOURCE = "import time\ntime.sleep(0.01)\nHELD = bytearray(b'x') * (4 << 20)\n";
/** Says which of our modules are there before it has imported anything. */
const LISTS = `import sys
FOUND = sorted(name for name in sys.modules if name.startswith("olm"))
def handler(event):
    return FOUND
`;

let bench: EngineBench;
let code: ReturnType<typeof addCode>;

beforeAll(async () => {
  bench = await EngineBench.open();
  for (const name of NAMES) addPackage(bench, name, SOURCE);
  code = addCode(bench, "lists", LISTS);
});
afterAll(() => bench.close());

let cache: ImportCache;
let rest: Awaited<ReturnType<EngineBench["atRest"]>>;

beforeEach(async () => {
  rest = await bench.atRest();
});
afterEach(async () => {
  await cache.close();
  await bench.expectAtRest(rest);
});

function open(budgetBytes: number): ImportCache {
  return new ImportCache({ host: bench.pool, clock, budgetBytes });
}

let skippedUs = 0;
/** Real time, and what a test skips so that old demand is forgotten. */
const clock: Clock = {
  nowUs: () => systemClock.nowUs() + skippedUs,
  wallMs: () => systemClock.wallMs(),
};

async function modulesIn(sandbox: Sandbox): Promise<string[]> {
  const { body } = await sandbox.call(Buffer.from("null"), 10_000);
  return JSON.parse(Buffer.from(body).toString()) as string[];
}

/** A cold start, as the lambda layer does it, that tells of slow imports. */
async function coldStart(need: InstalledPackages): Promise<{ sandbox: Sandbox; found: string[] }> {
  const lease = cache.acquire(need);
  const sandbox = await bench.create({ ...code, zygoteId: lease.zygote, packages: need.dirs });
  const found = await modulesIn(sandbox).catch(async (error: unknown) => {
    lease.release(null);
    await sandbox.destroy();
    throw error;
  });
  const left = need.imports.filter((name) => !found.includes(name));
  lease.release(left.length * 20_000);
  await cache.settled();
  return { sandbox, found };
}

test("a lambda finds what it declared and nothing else, over random trees", async () => {
  cache = open(60 * MIB);
  const random = seededRandom("zygote-tree");
  const pick = (count: number): string[] => {
    const picked = new Set<string>();
    while (picked.size < count) picked.add(random.pick(NAMES));
    return [...picked];
  };
  const needs = Array.from({ length: 10 }, () => installed(...pick(random.between(1, 4))));
  let fromZygotes = 0;
  for (let round = 0; round < 60; round += 1) {
    const need = random.pick(needs);
    const { sandbox, found } = await coldStart(need);
    expect(found.filter((name) => !need.imports.includes(name))).toEqual([]);
    if (sandbox.origin === "zygote") fromZygotes += 1;
    else expect(found).toEqual([]);
    await sandbox.destroy();
  }
  expect(fromZygotes).toBeGreaterThan(20);
});

test("a tree of the greatest depth forks, and each level shows its own modules", async () => {
  cache = open(1024 * MIB);
  for (let depth = 1; depth <= ZYGOTE_DEPTH_MAX + 1; depth += 1) {
    const { sandbox } = await coldStart(installed(...NAMES.slice(0, depth)));
    await sandbox.destroy();
  }
  const { zygotes } = cache.stats();
  const depthOf = (id: string | null): number =>
    id === null ? 0 : 1 + depthOf(zygotes.find((one) => one.id === id)?.parent ?? null);
  expect(Math.max(...zygotes.map(({ id }) => depthOf(id)))).toBe(ZYGOTE_DEPTH_MAX);
  for (let depth = 1; depth <= ZYGOTE_DEPTH_MAX; depth += 1) {
    const { sandbox, found } = await coldStart(installed(...NAMES.slice(0, depth)));
    expect([sandbox.origin, found]).toEqual(["zygote", NAMES.slice(0, depth)]);
    await sandbox.destroy();
  }
});

test("zygotes that are killed at any moment cost the calls on them alone, and come again", async () => {
  cache = open(60 * MIB);
  bench.pool.onZygoteGone((id) => {
    cache.zygoteGone(id);
  });
  const random = seededRandom("zygote-kills");
  const needs = NAMES.slice(0, 6).map((name, index) => installed(name, NAMES[index + 1]!));
  const call = async (): Promise<string> => {
    const need = random.pick(needs);
    try {
      const { sandbox, found } = await coldStart(need);
      expect(found.filter((name) => !need.imports.includes(name))).toEqual([]);
      await sandbox.destroy();
      return "answered";
    } catch (error) {
      if (error instanceof OlError) return error.code;
      throw error;
    }
  };
  const outcomes = new Set<string>();
  let killed = 0;
  for (let round = 0; round < 25; round += 1) {
    const calls = [call(), call(), call()];
    await Bun.sleep(random.between(0, 30));
    const zygotes = processesBelow(process.pid).filter(({ role }) => role === "zygote");
    // The first is the root, whose death is another test's.
    const victim = zygotes.length > 1 ? random.pick(zygotes.slice(1)) : null;
    if (victim !== null && isRunning(victim)) {
      signalExactly(victim, "SIGKILL");
      killed += 1;
    }
    for (const outcome of await Promise.all(calls)) outcomes.add(outcome);
    // What died of late is made again only after a pause.
    skippedUs += 20e6;
  }
  expect(killed).toBeGreaterThan(5);
  outcomes.delete("sandbox_died");
  expect([...outcomes]).toEqual(["answered"]);
  skippedUs += 3600e6;
  let origin = "fresh";
  for (let tries = 0; tries < 5 && origin !== "zygote"; tries += 1) {
    const { sandbox } = await coldStart(needs[0]!);
    origin = sandbox.origin;
    await sandbox.destroy();
  }
  expect(origin).toBe("zygote");
});

describe("an eviction storm", () => {
  test("keeps to the budget, ends nothing that is used, and serves every call", async () => {
    const budgetBytes = 40 * MIB;
    cache = open(budgetBytes);
    const held: Sandbox[] = [];
    for (const [index, name] of [...NAMES, ...NAMES, ...NAMES].entries()) {
      // What was asked for before is forgotten: each newcomer displaces another.
      skippedUs += 12 * 3600e6;
      for (let call = 0; call < 3; call += 1) {
        // Who found no room is not planned for again at once.
        skippedUs += 10e6;
        const { sandbox, found } = await coldStart(installed(name));
        expect(found.filter((one) => one !== name)).toEqual([]);
        // Some stay: their zygotes are in use while others come and go.
        if (call === 2 && index % 9 === 1 && held.length < 3) held.push(sandbox);
        else await sandbox.destroy();
      }
      for (const sandbox of held) await modulesIn(sandbox);
    }
    const { evictions, memoryBytes } = cache.stats();
    expect(evictions).toBeGreaterThan(NAMES.length);
    expect(memoryBytes).toBeLessThanOrEqual(budgetBytes + 12 * MIB);
    await Promise.all(held.map((sandbox) => sandbox.destroy()));
  });
});
