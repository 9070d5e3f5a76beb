/**
 * Three times as many calls as a worker can take, from callers who do not wait for each other: what is
 * too much is refused at once, and what is accepted waits as long as the queue in front of it implies.
 * Times are compared with times of the same run only.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";

import { LoadProcess, type LoadRequest } from "../../bench/load/load-process.ts";
import type { LoadResult } from "../../bench/load/plan.ts";
import { median, quantile, sorted } from "../../bench/stats/quantiles.ts";
import { NONCE_LAMBDA } from "../helpers/nonce-calls.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { scaled } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(60_000));

const QUEUE_MAX = 40;
const RUNNERS = 2;
const OVERLOAD = 3;
const DURATION_MS = 6_000;

/** How much longer than computed the slowest may take: other programs run on this machine. */
const SLACK = 2;

let worker: TestWorker;
let load: LoadProcess;

beforeAll(async () => {
  // The pool has room for two instances, which serve one call at a time.
  const settings = { max_queue: QUEUE_MAX, mem_pool_mb: RUNNERS * 64, limits: { mem_mb: 64 } };
  worker = await startWorker({ registry_cache_ms: 60_000, ...settings });
  worker.lambda("nonce", NONCE_LAMBDA);
  load = LoadProcess.start("overload");
});
afterAll(async () => {
  await load.close();
  await worker.stop();
});

const p90 = (values: readonly number[]): number => quantile(sorted(values), 0.9);
const p99 = (values: readonly number[]): number => quantile(sorted(values), 0.99);

/** A call needs 50 ms of an instance and next to no processor: a busy machine changes it little. */
const request = (
  seed: string,
  durationMs: number,
  arrivals: LoadRequest["arrivals"],
): LoadRequest => ({
  port: worker.port,
  paths: ["/run/nonce"],
  extra: { sleep: 0.05 },
  details: true,
  timeoutMs: 30_000,
  seed,
  durationMs,
  arrivals,
});

/** What calls took beside waiting for an instance. */
const beside = ({ latencyUs, stages }: LoadResult): number[] =>
  latencyUs.map((us, index) => us - (stages["queue"]?.[index] ?? Number.NaN));

/** The longest queue that was seen while something went on. */
async function longestQueue(during: Promise<unknown>): Promise<number> {
  const state = { isOver: false };
  void during.finally(() => (state.isOver = true));
  let longest = 0;
  while (!state.isOver) {
    longest = Math.max(longest, (await worker.stats()).calls.queued);
    await Bun.sleep(20);
  }
  return longest;
}

test("what a worker cannot take is refused at once, what it takes is answered in time", async () => {
  const calm = await load.run({
    ...request("calm", 2_000, { kind: "closed", clients: RUNNERS }),
    warmupCount: 20,
  });
  const perSecond = (calm.latencyUs.length / calm.elapsedUs) * 1e6;

  const ratePerS = perSecond * OVERLOAD;
  const arrivals = { kind: "poisson", ratePerS, connectionsMax: 200 } as const;
  const running = load.tryRun(request("overload", DURATION_MS, arrivals));
  const queued = await longestQueue(running);
  const accepted = await running;
  const { failures, firstFailure, refusedUs } = accepted;

  // Nothing is lost and nothing fails in another way, so there are about two refusals per answer.
  expect([Object.keys(failures), firstFailure]).toEqual([
    ["status 429"],
    expect.stringContaining("too many calls are waiting"),
  ]);
  expect(refusedUs.length).toBeGreaterThan(accepted.latencyUs.length);
  // It goes on doing what it can, however much is asked of it.
  const servedPerSecond = (accepted.latencyUs.length / accepted.elapsedUs) * 1e6;
  expect(servedPerSecond).toBeGreaterThan(perSecond / SLACK);
  // Who is refused knows long before the others have their turn.
  expect(p99(refusedUs)).toBeLessThan(median(accepted.latencyUs) / 5);
  // Who is accepted waits for a full queue at the most, and is then served as ever.
  expect(queued).toBeWithin(QUEUE_MAX / 2, QUEUE_MAX + 1);
  const fullQueueUs = ((QUEUE_MAX + RUNNERS) / servedPerSecond) * 1e6;
  expect(p99(accepted.latencyUs)).toBeLessThan(SLACK * fullQueueUs);
  expect(p90(beside(accepted))).toBeLessThan(SLACK * p90(calm.latencyUs));
});
