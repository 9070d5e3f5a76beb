/** Attempts on identity, namespaces, limits, and on processes that are not the lambda's own. */

import { afterAll, beforeAll, describe } from "bun:test";

import type { TestWorker } from "../helpers/worker.ts";
import { testAttempts, testScenarios } from "./attempts.ts";
import { ORIGIN_START_TIMEOUT_MS, ORIGINS, startWorkerFrom } from "./origins.ts";
import {
  type Context,
  IDENTITY,
  OTHERS,
  PROCESSES,
  SIBLING,
  startSibling,
} from "./privilege-attempts.ts";
import { descendants } from "./process-view.ts";

let worker: TestWorker;
let pids: readonly number[] = [];
let victim: Bun.Subprocess;

describe.each([...ORIGINS])("forked from %s", (origin) => {
  beforeAll(async () => {
    worker = await startWorkerFrom(origin, { network: "none" });
    await startSibling(worker);
    pids = [worker.pid(), ...descendants(worker.pid())];
    victim = Bun.spawn(["sleep", "600"], { stdio: ["ignore", "ignore", "ignore"] });
  }, ORIGIN_START_TIMEOUT_MS);

  afterAll(async () => {
    victim.kill("SIGKILL"); // The control left it stopped.
    await victim.exited;
    await worker.stop();
  });

  const context = (): Context => ({ worker, pids, victim: victim.pid });

  testScenarios("other processes", context, OTHERS);
  testAttempts("identity", context, IDENTITY);
  testAttempts("other processes", context, PROCESSES);
  testScenarios("other processes", context, SIBLING);
});
