/** SOCK sandboxes on the musl base: calls, limits, and attempts of the escape suite. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { testAttempts, testScenarios } from "../escape/attempts.ts";
import { startWorkerFrom } from "../escape/origins.ts";
import {
  type Context,
  IDENTITY,
  OTHERS,
  PROCESSES,
  startSibling,
} from "../escape/privilege-attempts.ts";
import { descendants } from "../escape/process-view.ts";
import { SYSCALLS } from "../escape/syscall-attempts.ts";
import { hasIoUring } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait-for.ts";
import type { TestWorker } from "../helpers/worker.ts";
import { LIMITS, testCalls } from "./calls.ts";
import { BUILD_TIMEOUT_MS, ensureMuslBase } from "./musl-base.ts";

setDefaultTimeout(60_000);

describe.each([
  ["fresh", "none"],
  ["zygote", "host"],
] as const)("SOCK on musl, forked from %s, network %s", (origin, network) => {
  let worker: TestWorker;
  let pids: readonly number[] = [];
  let victim: Bun.Subprocess;

  beforeAll(async () => {
    const base = { spec: `dir:${ensureMuslBase().root}` };
    worker = await startWorkerFrom(origin, { network, limits: LIMITS }, base);
    await startSibling(worker);
    pids = [worker.pid(), ...descendants(worker.pid())];
    victim = Bun.spawn(["sleep", "600"], { stdio: ["ignore", "ignore", "ignore"] });
  }, BUILD_TIMEOUT_MS);

  afterAll(async () => {
    victim.kill("SIGKILL"); // The control left it stopped.
    await victim.exited;
    await worker.stop();
  });

  test.if(hasIoUring())("what its forks copy is pinned", async () => {
    const said = await waitFor(
      () => /"pinned_bytes":(\d+)/.exec(worker.log())?.[1],
      "the log says how much that is",
    );
    expect(Number(said)).toBeGreaterThan(1024 * 1024);
  });

  testCalls(() => worker, origin, network === "host");

  const context = (): Context => ({ worker, pids, victim: victim.pid });

  testScenarios("other processes", context, OTHERS);

  testAttempts("identity", context, IDENTITY);

  testAttempts("other processes", context, PROCESSES);

  testScenarios("system calls", () => ({ worker }), SYSCALLS);
});
