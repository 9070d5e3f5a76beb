/** What is left of a worker's service when one of its processes is killed: FAULTS E, row 2. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import {
  isRunning,
  processesBelow,
  type Role,
  signalExactly,
  type WorkerProcess,
} from "../helpers/worker-processes.ts";

let worker: TestWorker;

beforeAll(async () => {
  worker = await startWorker({ registry_cache_ms: 50, import_cache_size: 0 });
});
afterAll(() => worker.stop());

function processes(role: Role, lambda: string | null = null): WorkerProcess[] {
  return processesBelow(worker.pid()).filter((one) => one.role === role && one.lambda === lambda);
}

async function handlerOf(lambda: string): Promise<WorkerProcess> {
  return await waitFor(() => processes("handler", lambda)[0], `${lambda} has a process`);
}

async function killAll(targets: readonly WorkerProcess[]): Promise<void> {
  expect(targets).not.toBeEmpty();
  for (const target of targets) signalExactly(target, "SIGKILL");
  await waitFor(() => !targets.some(isRunning), "the killed processes are gone");
}

async function expectAnswer(name: string): Promise<void> {
  const tally = new CallTally();
  await nonceCall(worker, name, tally);
  expect(tally.others(200)).toEqual([]);
  expect(tally.wrong).toEqual([]);
}

describe("a handler that is killed", () => {
  test("fails no call when it is idle", async () => {
    worker.lambda("idle", NONCE_LAMBDA);
    await expectAnswer("idle");
    await killAll([await handlerOf("idle")]);
    await waitFor(async () => (await worker.stats()).sandboxes.live === 0, "it is noticed");
    await expectAnswer("idle");
  });

  test("fails its own call alone, with 502, when it is busy", async () => {
    worker.lambda("busy", NONCE_LAMBDA);
    worker.lambda("neighbour", NONCE_LAMBDA);
    const tally = new CallTally();
    const neighbours = new CallTally();
    const neighbour = nonceCall(worker, "neighbour", neighbours, { sleepSec: 1 });
    const call = nonceCall(worker, "busy", tally, { sleepSec: 25 });
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 2, "both run");
    await killAll([await handlerOf("busy")]);
    expect(await call).toBe(502);
    expect(tally.others(502)).toEqual([]);
    expect(tally.texts.get(502)?.[0]).toContain("SIGKILL");
    expect(await neighbour).toBe(200);
    await expectAnswer("busy");
  });

  test("fails its own call alone, with 502, when it is starting", async () => {
    worker.lambda("starting", `import time\ntime.sleep(1)\n${NONCE_LAMBDA}`);
    const tally = new CallTally();
    const call = nonceCall(worker, "starting", tally);
    await killAll([await handlerOf("starting")]);
    expect(await call).toBe(502);
    await expectAnswer("starting");
  });

  test("fails at most one call when it is paused", async () => {
    worker.lambda("paused", NONCE_LAMBDA);
    await expectAnswer("paused");
    const target = await handlerOf("paused");
    await waitFor(async () => {
      const { paused, live } = (await worker.stats()).sandboxes;
      return paused === live;
    }, "it is paused");
    signalExactly(target, "SIGKILL");
    const tally = new CallTally();
    await nonceCall(worker, "paused", tally);
    expect(tally.others(200, 502)).toEqual([]);
    await expectAnswer("paused");
  });
});

test("spares that are killed fail no call", async () => {
  for (let index = 0; index < 8; index++) worker.lambda(`spare-${index}`, NONCE_LAMBDA);
  const targets = await waitFor(() => {
    const spares = processes("spare");
    return spares.length >= 8 ? spares : null;
  }, "spares are in stock");
  const tally = new CallTally();
  await killAll(targets);
  await Promise.all(
    Array.from({ length: 8 }, (_, index) => nonceCall(worker, `spare-${index}`, tally)),
  );
  expect(tally.others(200)).toEqual([]);
  expect(tally.wrong).toEqual([]);
});

describe("the root zygote that is killed", () => {
  test.each(["zygote", "zygote-wait"] as const)(
    "takes only the calls that it carries with it: %s",
    async (role) => {
      worker.lambda("on-root", NONCE_LAMBDA);
      const running = new CallTally();
      const calls = [1, 2, 3].map(() => nonceCall(worker, "on-root", running, { sleepSec: 25 }));
      await waitFor(async () => (await worker.stats()).sandboxes.busy === 3, "three calls run");
      const targets = processes(role).filter(({ parent }) =>
        role === "zygote-wait" ? parent === worker.pid() : true,
      );
      expect(targets).not.toBeEmpty();
      for (const target of targets) signalExactly(target, "SIGKILL");
      // At once, while the worker may not have heard of it yet.
      const next = new CallTally();
      for (let index = 0; index < 4; index++) {
        worker.lambda(`after-${role}-${index}`, NONCE_LAMBDA);
        await nonceCall(worker, `after-${role}-${index}`, next);
      }
      expect(next.others(200, 502)).toEqual([]);
      await Promise.all(calls);
      expect(running.others(502)).toEqual([]);
      await expectAnswer("on-root");
      await expectAnswer(`after-${role}-0`);
    },
  );

  test("takes paused sandboxes along", async () => {
    worker.lambda("asleep", NONCE_LAMBDA);
    await expectAnswer("asleep");
    await waitFor(async () => {
      const { live, paused } = (await worker.stats()).sandboxes;
      return live > 0 && paused === live;
    }, "the sandboxes are paused");
    await killAll(processes("zygote-wait").filter(({ parent }) => parent === worker.pid()));
    await waitFor(async () => (await worker.stats()).sandboxes.live === 0, "it is noticed");
    await expectAnswer("asleep");
  });

  test("is replaced again and again", async () => {
    worker.lambda("again", NONCE_LAMBDA);
    for (let round = 0; round < 4; round++) {
      const [target] = await waitFor(() => {
        const found = processes("zygote-wait").filter(({ parent }) => parent === worker.pid());
        return found.length > 0 ? found : null;
      }, "there is a root zygote");
      await killAll(target === undefined ? [] : [target]);
      await waitFor(async () => (await worker.stats()).sandboxes.live === 0, "it is noticed");
      await expectAnswer("again");
    }
  });
});
