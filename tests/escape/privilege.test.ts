/** Attempts on identity, namespaces, limits, and on processes that are not the lambda's own. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { printed, type TestWorker } from "../helpers/worker.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { inside, testAttempts } from "./attempts.ts";
import { ORIGIN_START_TIMEOUT_MS, ORIGINS, startWorkerFrom } from "./origins.ts";
import { type Context, IDENTITY, INVISIBLE, PROCESSES, TRACE } from "./privilege-attempts.ts";
import { descendants } from "./process-view.ts";

/** How a call starts whose instance has lived on. */
const ALIVE = ["warm", "unpaused"];

let worker: TestWorker;
let pids: readonly number[] = [];
let victim: Bun.Subprocess;

describe.each([...ORIGINS])("forked from %s", (origin) => {
  beforeAll(async () => {
    worker = await startWorkerFrom(origin, { network: "none" });
    worker.lambda("sibling", "print('alive')\ndef handler(event):\n    return 'sibling'\n");
    expect((await worker.call("sibling")).text).toBe('"sibling"');
    pids = [worker.pid(), ...descendants(worker.pid())];
    victim = Bun.spawn(["sleep", "600"], { stdio: ["ignore", "ignore", "ignore"] });
  }, ORIGIN_START_TIMEOUT_MS);

  afterAll(async () => {
    victim.kill("SIGKILL"); // The control left it stopped.
    await victim.exited;
    await worker.stop();
  });

  const context = (): Context => ({ worker, pids, victim: victim.pid });

  test("other processes: worker, zygotes and siblings cannot be seen, signalled, read or traced", async () => {
    expect(pids.length).toBeGreaterThanOrEqual(4);
    expect(await inside(worker, TRACE, pids)).toEqual(pids.map(() => INVISIBLE));
    expect((await worker.call("sibling")).headers.get("x-ol-start")).toBeOneOf(ALIVE);
  });

  testAttempts("identity", context, IDENTITY);

  testAttempts("other processes", context, PROCESSES);

  test("the sibling printed nothing new and still runs", async () => {
    expect((await worker.call("sibling")).headers.get("x-ol-start")).toBeOneOf(ALIVE);
    await waitFor(() => printed(worker, "sibling", "stdout") === "alive\n", "its output is there");
  });
});
