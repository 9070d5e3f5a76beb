import { expect, test } from "bun:test";
import { OlError } from "../../../src/common/errors.ts";
import { CallStats } from "../../../src/lambda/call-stats.ts";
import type { CallTiming, RunOutcome, StartKind } from "../../../src/lambda/contract.ts";

const TIMING: CallTiming = {
  totalUs: 105,
  queueUs: 10,
  pullUs: 0,
  installUs: 0,
  sandboxUs: 20,
  importUs: 30,
  handlerUs: 40,
  guestUs: 5,
};

const fine = (start: StartKind): RunOutcome => ({
  start,
  timing: TIMING,
  body: new Uint8Array(0),
  error: null,
});

function failed(code: "queue_full" | "lambda_exception", start: StartKind | null): RunOutcome {
  return { start, timing: TIMING, body: null, error: new OlError(code, "no") };
}

/** Numbers of recorded values by stage. */
function counts(stats: CallStats): Record<string, number> {
  return Object.fromEntries(
    Object.entries(stats.stages()).map(([name, { count }]) => [name, count]),
  );
}

test("calls() counts what is in flight, what is over, and how it began", () => {
  const stats = new CallStats();
  for (let call = 0; call < 4; call++) stats.begin();
  expect(stats.inFlight).toBe(4);
  stats.end(fine("fresh"));
  stats.end(fine("warm"));
  stats.end(failed("lambda_exception", "warm"));
  expect(stats.calls()).toEqual({
    total: 3,
    inFlight: 1,
    byStart: { warm: 2, unpaused: 0, zygote: 0, fresh: 1 },
    byError: { lambda_exception: 1 },
  });
});

test("calls() counts a call without a sandbox by its error only", () => {
  const stats = new CallStats();
  stats.begin();
  stats.end(failed("queue_full", null));
  expect(stats.calls()).toEqual({
    total: 1,
    inFlight: 0,
    byStart: { warm: 0, unpaused: 0, zygote: 0, fresh: 0 },
    byError: { queue_full: 1 },
  });
  expect(counts(stats)).toEqual({
    total: 0,
    queue: 0,
    pull: 0,
    install: 0,
    sandbox: 0,
    import: 0,
    handler: 0,
    guest: 0,
  });
});

const ALWAYS = { total: 1, queue: 1, pull: 0, install: 0, handler: 1, guest: 1 };

test("calls() counts a refused call among those that are over, and times nothing", () => {
  const stats = new CallStats();
  stats.refuse("body_too_large");
  stats.refuse("body_too_large");
  expect(stats.calls()).toMatchObject({ total: 2, inFlight: 0, byError: { body_too_large: 2 } });
  expect(counts(stats)).toMatchObject({ total: 0, handler: 0 });
});

test.each([
  ["warm", { ...ALWAYS, sandbox: 0, import: 0 }],
  ["unpaused", { ...ALWAYS, sandbox: 1, import: 0 }],
  ["zygote", { ...ALWAYS, sandbox: 1, import: 1 }],
  ["fresh", { ...ALWAYS, sandbox: 1, import: 1 }],
] as const)("stages() records of a call that is %s what it went through", (start, wanted) => {
  const stats = new CallStats();
  stats.begin();
  stats.end(fine(start));
  expect(counts(stats)).toEqual(wanted);
});

test("stages() tells the time of each stage", () => {
  const stats = new CallStats();
  for (let call = 0; call < 10; call++) {
    stats.begin();
    stats.end(fine("fresh"));
  }
  const p50 = Object.fromEntries(
    Object.entries(stats.stages()).map(([name, { p50: us }]) => [name, us]),
  );
  expect(p50).toEqual({
    total: 105,
    queue: 10,
    pull: 0,
    install: 0,
    sandbox: 20,
    import: 30,
    handler: 40,
    guest: 5,
  });
});

test("calls() gives a copy that later calls do not change", () => {
  const stats = new CallStats();
  stats.begin();
  const before = stats.calls();
  stats.end(fine("warm"));
  expect(before).toMatchObject({ total: 0, inFlight: 1, byStart: { warm: 0 } });
});
