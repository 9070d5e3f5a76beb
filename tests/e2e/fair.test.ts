/** Lambdas of people who do not trust each other: one that floods a worker harms its own calls only. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";

import { scaled, waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";

setDefaultTimeout(scaled(60_000));

const SLEEP = "import time\ndef handler(event):\n    time.sleep(0.05)\n    return event\n";
const ECHO = "def handler(event):\n    return event\n";

/** How long a call of the other lambda may take: the flood's call and turn, two cold starts, a busy machine. */
const LATENCY_MAX_MS = 5_000;

let worker: TestWorker;

beforeAll(async () => {
  // Room for one sandbox, and for four calls that wait.
  worker = await startWorker({ mem_pool_mb: 64, limits: { mem_mb: 64 }, max_queue: 4 });
  worker.lambda("flood", SLEEP);
  worker.lambda("quiet", ECHO);
});
afterAll(() => worker.stop());

test("a flood of one lambda takes another one neither its place to wait nor memory", async () => {
  const ends = new AbortController();
  const statuses = new Map<number, number>();
  const clients = Array.from({ length: 16 }, async () => {
    while (!ends.signal.aborted) {
      const { status } = await worker.call("flood", 1);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      // Refused at once: the worker is not to be kept busy with saying so.
      if (status === 429) await Bun.sleep(5);
    }
  });
  await waitFor(async () => (await worker.stats()).calls.queued === 4, "the queue is full");
  const answers: { status: number; text: string }[] = [];
  let slowestMs = 0;
  for (let call = 0; call < 10; call++) {
    const startMs = performance.now();
    const { status, text } = await worker.call("quiet", call);
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
    answers.push({ status, text });
  }
  ends.abort();
  await Promise.all(clients);
  expect(answers).toEqual(answers.map((_, call) => ({ status: 200, text: String(call) })));
  expect(slowestMs).toBeLessThan(LATENCY_MAX_MS);
  expect([...statuses.keys()].toSorted((a, b) => a - b)).toEqual([200, 429]);
  expect(statuses.get(200)).toBeGreaterThan(10);
});
