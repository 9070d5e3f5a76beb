/**
 * A machine that is short of memory, on a small scale: limits on the cgroup of all sandboxes and on that
 * of the worker make the kernel kill what it finds there. FAULTS E.
 */

import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmdirSync } from "node:fs";

import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import { MemoryCgroup } from "../helpers/memory-cgroup.ts";
import { olDone } from "../helpers/ol.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { isRunning, processesBelow } from "../helpers/worker-processes.ts";

const MIB = 2 ** 20;
const LAMBDAS = 8;

/** Holds memory while it sleeps. */
const HUNGRY = [
  "import time",
  "def handler(event):",
  "    held = bytearray(event.get('mb', 0) << 20)",
  "    for at in range(0, len(held), 4096): held[at] = 1",
  "    time.sleep(event.get('sleep', 0))",
  "    return event",
  "",
].join("\n");

let worker: TestWorker;

afterEach(() => worker.stop());

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/exe`);
}

async function callsAtOnce(names: readonly string[], mb: number): Promise<CallTally> {
  const tally = new CallTally();
  const call = { sleepSec: 0.3, more: { mb } };
  await Promise.all(names.map((name) => nonceCall(worker, name, tally, call)));
  expect(tally.wrong).toEqual([]);
  return tally;
}

test("sandboxes without memory die alone: their calls fail, and the next ones are answered", async () => {
  worker = await startWorker({ registry_cache_ms: 60_000, limits: { mem_mb: 64 } });
  const names = Array.from({ length: LAMBDAS }, (_, index) => `hungry-${index}`);
  for (const name of names) worker.lambda(name, HUNGRY);
  expect((await callsAtOnce(names, 0)).others(200)).toEqual([]);
  const pid = worker.pid();
  const zygote = processesBelow(pid).find(({ role }) => role === "zygote");
  // Each needs 24 MiB, and about two of them find room.
  const all = MemoryCgroup.of(zygote?.pid ?? 0).parent;
  all.limit(all.usedBytes + 60 * MIB);
  const tally = await callsAtOnce(names, 24);
  expect(tally.others(200, 429, 502, 503)).toEqual([]);
  // Nobody took more than was promised: it is not for the lambda to mend.
  for (const text of tally.texts.get(502) ?? []) expect(text).toContain("within its limit");
  expect(tally.count(502)).toBeGreaterThan(0);
  expect(worker.pid()).toBe(pid);
  all.limit(null);
  await waitFor(
    async () => (await callsAtOnce(names, 24)).count(200) === LAMBDAS,
    "all are answered",
  );
  await waitFor(async () => (await worker.stats()).sandboxes.busy === 0, "nothing is busy");
  expect((await worker.stats()).calls.inFlight).toBe(0);
});

test("a worker that is killed for want of memory takes all of it along and starts again", async () => {
  worker = await startWorker({ registry_cache_ms: 60_000, max_body_mb: 16, mem_pool_mb: 64 * 8 });
  worker.lambda("nonce", NONCE_LAMBDA);
  const tally = new CallTally();
  await nonceCall(worker, "nonce", tally);
  const pid = worker.pid();
  const below = processesBelow(pid);
  const small = MemoryCgroup.top(`ol-test-${process.pid}`);
  mkdirSync(small.dir);
  try {
    small.limit(48 * MIB);
    small.join(pid);
    const more = { text: "x".repeat(12 * MIB) };
    const calls = Array.from({ length: 12 }, () => nonceCall(worker, "nonce", tally, { more }));
    await waitFor(
      () => !below.some(isRunning),
      "the kernel kills the worker, and all dies with it",
    );
    await Promise.all(calls);
  } finally {
    // Where it did not die, nothing else would empty the cgroup.
    if (isAlive(pid)) process.kill(pid, "SIGKILL");
    await waitFor(() => !isAlive(pid), "the worker is gone");
    rmdirSync(small.dir);
  }
  expect(tally.others(200, 0)).toEqual([]);
  await olDone(["workers", `--cluster=${worker.cluster}`, `--port=${worker.port}`]);
  const next = new CallTally();
  await nonceCall(worker, "nonce", next);
  expect([next.others(200), next.wrong]).toEqual([[], []]);
});
