/** SOCK sandboxes on the musl base: calls, limits, and attempts of the escape suite. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { inside, testAttempts } from "../escape/attempts.ts";
import { startWorkerFrom } from "../escape/origins.ts";
import {
  type Context,
  IDENTITY,
  INVISIBLE,
  PROCESSES,
  TRACE,
} from "../escape/privilege-attempts.ts";
import { descendants } from "../escape/process-view.ts";
import {
  ALLOWED,
  byNumber,
  CALLS,
  isIntel,
  named,
  OTHER_TABLES,
  present,
  REFUSED,
} from "../escape/syscall-attempts.ts";
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
    victim = Bun.spawn(["sleep", "600"], { stdio: ["ignore", "ignore", "ignore"] });
  }, BUILD_TIMEOUT_MS);

  afterAll(async () => {
    victim.kill("SIGKILL"); // The control left it stopped.
    await victim.exited;
    await worker.stop();
  });

  testCalls(() => worker, origin, network === "host");

  test("other processes cannot be seen, signalled, read or traced", async () => {
    pids = [worker.pid(), ...descendants(worker.pid())];
    expect(pids.length).toBeGreaterThanOrEqual(4);
    expect(await inside(worker, TRACE, pids)).toEqual(pids.map(() => INVISIBLE));
  });

  const context = (): Context => ({ worker, pids, victim: victim.pid });

  testAttempts("identity", context, IDENTITY);

  testAttempts("other processes", context, PROCESSES);

  test("the filter refuses calls that no lambda needs, and lets through what every program makes", async () => {
    const calls = present(REFUSED);
    const found = named(calls, await inside(worker, CALLS, byNumber(calls)));
    expect(found).toEqual(Object.fromEntries(calls.map(([name]) => [name, "EPERM"])));
    expect(await inside(worker, CALLS, byNumber([["clone3", 0, 0]]))).toEqual(["ENOSYS"]);
    expect(await inside(worker, CALLS, byNumber(ALLOWED))).toEqual(ALLOWED.map(() => "ok"));
  });

  test.if(isIntel)("the filter kills or refuses who calls through other tables", async () => {
    expect(await inside(worker, OTHER_TABLES)).toEqual(["signal 31", "EPERM"]);
  });
});
