/** Signals to a worker that is busy: FAULTS E, row 6. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";

import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import { OL, olDone } from "../helpers/ol.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { isRunning, processesBelow } from "../helpers/worker-processes.ts";

let worker: TestWorker;

beforeAll(async () => {
  worker = await startWorker({ registry_cache_ms: 50 });
  worker.lambda("nonce", NONCE_LAMBDA);
  // The same worker in the foreground shows its exit status.
  await olDone(["kill", `--cluster=${worker.cluster}`]);
});
afterAll(() => worker.stop());

async function foreground(stdout: "ignore" | "pipe" = "ignore"): Promise<Bun.Subprocess> {
  const child = Bun.spawn(
    [OL, "worker-exec", "--config", join(worker.cluster, "config/worker-0.json")],
    { stdio: ["ignore", stdout, "ignore"] },
  );
  await waitFor(async () => (await status()) === 200, "the worker is ready");
  return child;
}

async function status(): Promise<number> {
  try {
    return (await fetch(`http://127.0.0.1:${worker.port}/status`)).status;
  } catch {
    return 0;
  }
}

describe("a busy worker", () => {
  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "answers its calls, refuses new ones with 503 and exits with 0 on %s",
    async (signal) => {
      const child = await foreground();
      const tally = new CallTally();
      const calls = [1, 2, 3].map(() => nonceCall(worker, "nonce", tally, { sleepSec: 1.5 }));
      await waitFor(async () => (await worker.stats()).sandboxes.busy === 3, "three calls run");
      const below = processesBelow(child.pid);
      child.kill(signal);
      await waitFor(async () => (await status()) === 503, "it drains");
      const refused = await worker.call("nonce", {});
      expect(refused.status).toBe(503);
      expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
      expect((await worker.stats()).calls.byError).toEqual({ draining: 1 });
      await Promise.all(calls);
      expect(tally.others(200)).toEqual([]);
      expect(tally.wrong).toEqual([]);
      expect(await child.exited).toBe(0);
      expect(below.filter(isRunning)).toEqual([]);
    },
  );

  // Whoever closed a pipe or hung up must not be able to stop a worker: it serves on and loses nothing.
  test("takes no notice of SIGPIPE", async () => {
    const child = await foreground();
    const tally = new CallTally();
    const calls = [1, 2, 3].map(() => nonceCall(worker, "nonce", tally, { sleepSec: 0.5 }));
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 3, "three calls run");
    for (let index = 0; index < 20; index++) child.kill("SIGPIPE");
    await Promise.all(calls);
    await nonceCall(worker, "nonce", tally);
    expect(tally.others(200)).toEqual([]);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
  });

  test("answers calls that still wait for an instance when it is told to stop", async () => {
    const child = await foreground();
    const tally = new CallTally();
    const calls = Array.from({ length: 40 }, () =>
      nonceCall(worker, "nonce", tally, { sleepSec: 0.1 }),
    );
    await waitFor(async () => (await worker.stats()).calls.inFlight === 40, "all are there");
    child.kill("SIGTERM");
    await Promise.all(calls);
    expect(tally.others(200)).toEqual([]);
    expect(await child.exited).toBe(0);
  });

  test("ends at once on a second signal, and leaves nothing that hinders the next", async () => {
    const child = await foreground();
    const tally = new CallTally();
    const call = nonceCall(worker, "nonce", tally, { sleepSec: 20 });
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 1, "a call runs");
    const below = processesBelow(child.pid);
    child.kill("SIGTERM");
    await waitFor(async () => (await status()) === 503, "it drains");
    child.kill("SIGINT");
    expect(await child.exited).toBe(1);
    expect(await call).toBe(0);
    await waitFor(() => !below.some(isRunning), "everything in the worker died with it");
    const next = await foreground();
    expect((await worker.call("nonce", { nonce: 1 })).status).toBe(200);
    next.kill("SIGTERM");
    expect(await next.exited).toBe(0);
  });

  test("goes on serving when nobody reads its log any more", async () => {
    const child = await foreground("pipe");
    await (child.stdout as ReadableStream<Uint8Array>).cancel();
    const tally = new CallTally();
    for (let index = 0; index < 20; index++) await nonceCall(worker, `unknown-${index}`, tally);
    await nonceCall(worker, "nonce", tally);
    expect(tally.others(404, 200)).toEqual([]);
    expect(tally.count(200)).toBe(1);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
  });
});
