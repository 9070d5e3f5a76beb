import { describe, expect, test } from "bun:test";
import { NO_TIMING } from "../../../src/lambda/contract.ts";
import { clip, outcomeAnswer, serverTiming } from "../../../src/server/answers.ts";

describe("serverTiming()", () => {
  const cases: [us: number, ms: string][] = [
    [0, "0.000"],
    [1, "0.001"],
    [999.4, "0.999"],
    [999.6, "1.000"],
    [1_000, "1.000"],
    [12_345_678, "12345.678"],
    [-5, "0.000"],
    [NaN, "0.000"],
    [Infinity, "0.000"],
  ];
  for (const [us, ms] of cases) {
    test(`tells ${us} us as ${ms} ms`, () => {
      const timing = { ...NO_TIMING, queueUs: us, handlerUs: us, totalUs: us };
      expect(serverTiming(timing)).toBe(
        `queue;dur=${ms}, sandbox;dur=0.000, import;dur=0.000, handler;dur=${ms}, ` +
          `guest;dur=0.000, total;dur=${ms}`,
      );
    });
  }
});

test("serverTiming() tells of code and packages only where they were waited for", () => {
  const timing = { ...NO_TIMING, pullUs: 1_000, installUs: 2_000 };
  expect(serverTiming(timing)).toStartWith("queue;dur=0.000, pull;dur=1.000, install;dur=2.000, ");
});

describe("outcomeAnswer()", () => {
  test("shares no headers between answers", () => {
    const timing = { ...NO_TIMING };
    const outcome = { start: "warm" as const, timing, body: new Uint8Array([49]), error: null };
    const answers = ["a", "b", "c"].map((id) => outcomeAnswer(outcome, id));
    expect(answers.map(({ headers }) => headers.get("x-request-id"))).toEqual(["a", "b", "c"]);
  });

  test("leaves x-ol-start out where no sandbox was reached", () => {
    const timing = { ...NO_TIMING };
    const outcome = { start: null, timing, body: new Uint8Array([49]), error: null };
    expect(outcomeAnswer(outcome, "a").headers.has("x-ol-start")).toBe(false);
  });
});

describe("clip()", () => {
  test("keeps what fits and marks what was cut", () => {
    expect([clip("abc", 3), clip("abcd", 3)]).toEqual(["abc", "ab…"]);
  });
});
