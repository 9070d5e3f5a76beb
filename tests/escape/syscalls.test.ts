/**
 * System calls that a lambda must not make, called by number from inside, on both kinds of network.
 * Arguments are harmless or nonsense: outside, the kernel finds fault with them or obeys; inside, the filter answers
 * before it looks at them.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import type { TestWorker } from "../helpers/worker.ts";
import { testScenarios } from "./attempts.ts";
import { ORIGIN_START_TIMEOUT_MS, startWorkerFrom } from "./origins.ts";
import { answersOutside, SYSCALLS } from "./syscall-attempts.ts";

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

  testScenarios("system calls", () => ({ worker }), SYSCALLS);
});

test("outside, the kernel itself answers the same calls", () => {
  const found = Object.values(answersOutside());
  const refused = found.filter((answer) => answer === "EPERM");
  // Root of a container may lack a few of the capabilities; most calls must get past that point.
  expect(refused.length).toBeLessThan(found.length / 4);
});
