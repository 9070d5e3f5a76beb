/**
 * System calls that a lambda must not make, called by number from inside, on both kinds of network.
 * Arguments are harmless or nonsense: outside, the kernel finds fault with them or obeys; inside, the filter answers
 * before it looks at them.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import type { TestWorker } from "../helpers/worker.ts";
import { inside, outside } from "./attempts.ts";
import { ORIGIN_START_TIMEOUT_MS, startWorkerFrom } from "./origins.ts";
import {
  ALLOWED,
  byNumber,
  type Call,
  CALLS,
  isIntel,
  named,
  OTHER_TABLES,
  present,
  REFUSED,
} from "./syscall-attempts.ts";

describe.each([
  ["none", "fresh"],
  ["host", "fresh"],
  ["none", "zygote"],
] as const)("network %s, forked from %s", (network, origin) => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = await startWorkerFrom(origin, { network });
  }, ORIGIN_START_TIMEOUT_MS);
  afterAll(() => worker.stop());

  test("the filter refuses calls that no lambda needs with EPERM", async () => {
    const calls = present(REFUSED);
    const found = named(calls, await inside(worker, CALLS, byNumber(calls)));
    expect(found).toEqual(Object.fromEntries(calls.map(([name]) => [name, "EPERM"])));
  });

  test("the filter refuses clone3 with ENOSYS, so that programs fall back to clone", async () => {
    const calls: readonly Call[] = [["clone3", 0, 0]];
    expect(await inside(worker, CALLS, byNumber(calls))).toEqual(["ENOSYS"]);
    expect(outside(CALLS, byNumber(calls))).toEqual(["EINVAL"]);
  });

  test("the filter lets calls through that every program makes", async () => {
    expect(await inside(worker, CALLS, byNumber(ALLOWED))).toEqual(ALLOWED.map(() => "ok"));
  });

  test.if(isIntel)(
    "the filter kills who calls through the 32-bit table and refuses the x32 one",
    async () => {
      expect(await inside(worker, OTHER_TABLES)).toEqual(["signal 31", "EPERM"]);
      const [interrupt, x32] = outside(OTHER_TABLES) as readonly unknown[];
      // A kernel may be built without either; what it says then is not SIGSYS.
      expect(interrupt).toBeOneOf([true, false, "signal 11"]);
      expect(x32).toBeOneOf(["ok", "ENOSYS"]);
    },
  );
});

test("outside, the kernel itself answers the same calls", () => {
  const calls = present(REFUSED);
  const found = named(
    calls,
    outside(CALLS, byNumber(calls), ["--mount", "--uts", "--ipc", "--time"]),
  );
  const refused = Object.keys(found).filter((name) => found[name] === "EPERM");
  // Root of a container may lack a few of the capabilities; most calls must get past that point.
  expect(refused.length).toBeLessThan(calls.length / 4);
});
