import { afterAll, beforeAll, expect, test } from "bun:test";

import { ol } from "../helpers/ol.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { waitFor } from "../helpers/wait-for.ts";

const SLEEP = "import time\ndef handler(event):\n    time.sleep(event)\n    return event\n";

let worker: TestWorker;

beforeAll(async () => {
  // Room for one sandbox, and for one call that waits.
  worker = await startWorker({ mem_pool_mb: 64, limits: { mem_mb: 64 }, max_queue: 1 });
  worker.lambda("sleep", SLEEP);
});
afterAll(() => worker.stop());

test("a call is refused with queue_full when too many wait, with pool_exhausted when memory does not come", async () => {
  expect((await worker.call("sleep", 0)).status).toBe(200);
  const busy = worker.call("sleep", 13);
  await waitFor(async () => (await worker.stats()).sandboxes.busy === 1, "the sandbox is busy");
  const waiting = worker.call("sleep", 0);
  await waitFor(async () => (await worker.stats()).calls.queued === 1, "one call waits");
  const refused = await worker.call("sleep", 0);
  expect([refused.status, refused.headers.get("x-ol-error")]).toEqual([429, "queue_full"]);
  expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
  const starved = await waiting;
  expect([starved.status, starved.headers.get("x-ol-error")]).toEqual([429, "pool_exhausted"]);
  expect((await busy).text).toBe("13");
  expect((await worker.call("sleep", 0)).text).toBe("0");
});

test("a name that no lambda can have is answered with lambda_name_invalid", async () => {
  for (const name of ["a%20b", "x".repeat(129), "a%2fb"]) {
    const { status, headers } = await worker.post(name, "null");
    expect([name, status, headers.get("x-ol-error")]).toEqual([name, 404, "lambda_name_invalid"]);
  }
});

test("ol invoke tells worker_unreachable where no worker answers", async () => {
  const other = await startWorker();
  await ol(["kill", `--cluster=${other.cluster}`]);
  try {
    const { exitCode, stderr } = await ol(["invoke", `--cluster=${other.cluster}`, "x", "--json"]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("worker_unreachable");
  } finally {
    await other.stop();
  }
});
