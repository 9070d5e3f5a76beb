/**
 * The lambda layer above an engine whose host fails: calls end with an error of ours, no memory
 * stays reserved, and the next call is answered. FAULTS E, row 4.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { systemClock } from "../../src/common/clock.ts";
import { OlError } from "../../src/common/errors.ts";
import { silentLogger } from "../../src/common/log.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { RunOutcome } from "../../src/lambda/contract.ts";
import { LambdaTable } from "../../src/lambda/lambda-table.ts";
import { DirectoryRegistry } from "../../src/registry/directory.ts";
import { seededRandom } from "../helpers/random.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";
import { EngineBench } from "./engine-bench.ts";
import { ERRNO_NAMES, failingCgroupIo, Injector } from "./injector.ts";

setDefaultTimeout(scaled(120_000));

const injector = new Injector();
const ECHO = "def handler(event):\n    return event\n";
const NAMES = ["first", "second"] as const;

let bench: EngineBench;
let table: LambdaTable;
let nonce = 0;

beforeAll(async () => {
  bench = await EngineBench.open({ io: failingCgroupIo(injector) });
  const registryDir = join(bench.clusterDir, "registry");
  for (const name of NAMES) {
    mkdirSync(join(registryDir, name));
    writeFileSync(join(registryDir, name, "lambda_func.py"), ECHO);
  }
  const config = parseConfig(
    {
      worker_port: 1024,
      worker_dir: bench.workerDir,
      registry_dir: registryDir,
      sock_base_path: join(bench.clusterDir, "base"),
      Pkgs_dir: join(bench.clusterDir, "packages"),
      // Room for one that runs and one that is paused: each call pauses the other lambda.
      mem_pool_mb: 96,
      limits: { mem_mb: 64, procs: 32, runtime_sec: 10, scratch_mb: 32 },
    },
    "the test",
  );
  table = new LambdaTable({
    config,
    pool: bench.pool,
    registry: new DirectoryRegistry(registryDir),
    installer: null,
    imports: null,
    clock: systemClock,
    log: silentLogger,
  });
});
afterAll(async () => {
  injector.disarm();
  await table.close();
  expect(table.stats().memory.reservedBytes).toBe(0);
  expect(bench.pool.live).toBe(0);
  await bench.close();
});

async function call(name: string): Promise<RunOutcome> {
  nonce += 1;
  const text = String(nonce);
  const { signal } = new AbortController();
  const outcome = await table.run({ name, body: Buffer.from(text), requestId: text, signal });
  if (outcome.body !== null) expect(Buffer.from(outcome.body).toString()).toBe(text);
  return outcome;
}

/** Each lambda twice in turn: created, paused for the other, thawed. */
async function turns(): Promise<RunOutcome[]> {
  const outcomes: RunOutcome[] = [];
  for (const name of [...NAMES, ...NAMES]) outcomes.push(await call(name));
  return outcomes;
}

async function survives(what: () => string): Promise<void> {
  try {
    for (const { error } of await turns()) {
      if (error !== null) expect(error).toBeInstanceOf(OlError);
    }
    injector.disarm();
    // What was on its way out when the fault hit may still fail one call; then all is well again.
    await turns();
    for (const { error } of await turns()) if (error !== null) throw error;
    await waitFor(() => {
      const { sandboxes, calls } = table.stats();
      return sandboxes.live === bench.pool.live && calls.inFlight === 0 && calls.queued === 0;
    }, "the books are in order");
    const { memory } = table.stats();
    expect(memory.reservedBytes).toBeLessThanOrEqual(memory.poolBytes);
  } catch (cause) {
    throw new Error(`${what()} is not survived`, { cause });
  }
}

test("lambdas are paused for each other and thawed in this set-up", async () => {
  await turns();
  const starts = (await turns()).map(({ start }) => start);
  expect(starts).toContain("unpaused");
});

test.each(["EPERM", "ENOMEM"] as const)(
  "one failing call is survived wherever it happens, with %s",
  async (errno) => {
    injector.arm(() => null);
    await turns();
    const { length } = injector.seen;
    injector.disarm();
    for (let at = 0; at < length; at++) {
      let hit = "nothing";
      injector.arm((name, index) => {
        if (index !== at) return null;
        hit = name;
        return errno;
      });
      await survives(() => `${errno} at call ${at}, ${hit}`);
    }
  },
);

test("random failures are survived", async () => {
  const random = seededRandom("failing calls below lambdas");
  for (let round = 0; round < 40; round++) {
    const probability = random.pick([0.02, 0.1, 0.4]);
    injector.arm(() => (random.chance(probability) ? random.pick(ERRNO_NAMES) : null));
    await survives(() => `round ${round} with probability ${probability}`);
  }
});
