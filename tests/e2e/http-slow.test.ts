/** FAULTS C: what only shows with time, because the timeouts are the server's own: one long scene. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";
import { RawClient } from "../integration/server/raw-client.ts";
import { requires } from "../helpers/requires.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { scaled } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(60_000));

const asRoot = requires({ root: true });
const isRoot = process.getuid?.() === 0;

/** Longer than the silence after which the server closes an idle connection (30 s, counted in steps of 4). */
const SILENCE_SEC = 38;
const TIMEOUT_MS = (SILENCE_SEC + 40) * 1000;

let worker: TestWorker;

beforeAll(async () => {
  if (!isRoot) return;
  worker = await startWorker({ limits: { runtime_sec: SILENCE_SEC + 10 } });
  worker.lambda("echo", "def handler(event):\n    return event\n");
  worker.lambda(
    "sleep",
    `import time\ndef handler(event):\n    time.sleep(${SILENCE_SEC})\n    return "patience"\n`,
  );
});
afterAll(async () => {
  if (isRoot) await worker.stop();
});

describe("slow connections", () => {
  asRoot(
    "a lambda that is silent for longer than the idle timeout is still answered; stallers are cut off",
    async () => {
      const silent = await RawClient.open(worker.port);
      silent.send("POST /run/sleep HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
      const loris = await Promise.all(
        Array.from({ length: 200 }, () => RawClient.open(worker.port)),
      );
      for (const client of loris) client.send("POST /run/echo HTTP/1.1\r\nHost: a\r\nX-Slow: ");
      const dribble = setInterval(() => {
        for (const client of loris) if (!client.closed) client.send("x");
      }, 500);
      const idle = await RawClient.open(worker.port);
      idle.send("GET /status HTTP/1.1\r\nHost: a\r\n\r\n");
      const stalled = await RawClient.open(worker.port);
      stalled.send("POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1");

      expect((await worker.call("echo", "meanwhile")).text).toBe('"meanwhile"');
      await Promise.all([...loris, idle, stalled].map((client) => client.rest(TIMEOUT_MS)));
      clearInterval(dribble);
      expect(idle.received).toContain("ready");
      expect([stalled.received, ...loris.map(({ received }) => received)].join("")).not.toContain(
        "200 OK",
      );

      await silent.until("answer", ({ received }) => received.includes('"patience"'), TIMEOUT_MS);
      silent.send("POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
      await silent.until("next answer", ({ received }) => received.endsWith("\r\n\r\n1"));
      // The connection's patience ended with the call: it is idle again, and so is cut off.
      await silent.rest(TIMEOUT_MS);
    },
    2 * TIMEOUT_MS,
  );
});
