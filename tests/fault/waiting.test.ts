/**
 * Calls that wait for packages, from an index that never answers: they are bounded like any queue,
 * they leave it when their clients do, and they do not hold up the end of the worker.
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";

import { OL, olDone } from "../helpers/ol.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";

/** Takes connections and says nothing. */
let index: Bun.TCPSocketListener<undefined>;
let worker: TestWorker;
let child: Bun.Subprocess;

beforeAll(async () => {
  index = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  worker = await startWorker({
    pip_mirror: `http://127.0.0.1:${index.port}/simple`,
    max_queue: 3,
    limits: { runtime_sec: 1 },
  });
  worker.lambda("waits", "def handler(event):\n    return event\n", { "packages.txt": "six" });
  worker.lambda("plain", "def handler(event):\n    return event\n");
  await olDone(["kill", `--cluster=${worker.cluster}`]);
  const config = join(worker.cluster, "config/worker-0.json");
  child = Bun.spawn([OL, "worker-exec", "--config", config], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  await waitFor(async () => await isReady(), "the worker is ready");
});
afterAll(async () => {
  child.kill("SIGKILL");
  await child.exited;
  await worker.stop();
  index.stop(true);
});

async function isReady(): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${worker.port}/status`)).status === 200;
  } catch {
    return false;
  }
}

const queued = async (): Promise<number> => (await worker.stats()).calls.queued;

test("calls that wait for packages count in max_queue, also when clients hang up", async () => {
  const gone = new AbortController();
  const leaving = worker.call("waits", 1, { signal: gone.signal }).catch(() => null);
  const waiting = [2, 3].map((event) => worker.call("waits", event));
  await waitFor(async () => (await queued()) === 3, "three calls wait");
  const refused = await worker.call("waits", 4);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
  gone.abort();
  await leaving;
  await waitFor(async () => (await queued()) === 2, "the one that hung up gave up its place");
  expect((await worker.call("plain", 5)).text).toBe("5");

  child.kill("SIGTERM");
  const answers = await Promise.all(waiting);
  expect(answers.map(({ status }) => status)).toEqual([503, 503]);
  expect(await child.exited).toBe(0);
});
