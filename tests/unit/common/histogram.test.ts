import { describe, expect, test } from "bun:test";
import { array, assert, constantFrom, integer, property } from "fast-check";
import { LatencyHistogram } from "../../../src/common/histogram.ts";
import { HISTOGRAM_MAX_US } from "../../../src/common/limits.ts";

describe("LatencyHistogram", () => {
  test("is zero while empty, and again after reset()", () => {
    const histogram = new LatencyHistogram();
    const empty = { count: 0, p50: 0, p90: 0, p99: 0 };
    expect(histogram.summary()).toEqual(empty);
    histogram.record(5);
    histogram.reset();
    expect(histogram.summary()).toEqual(empty);
    expect(histogram.percentile(50)).toBe(0);
  });

  test("takes any number", () => {
    const histogram = new LatencyHistogram();
    for (const odd of [0, -1, 0.2, NaN, Infinity, -Infinity, Number.MAX_VALUE])
      histogram.record(odd);
    expect(histogram.count).toBe(7);
    expect(histogram.percentile(100)).toBeLessThanOrEqual(HISTOGRAM_MAX_US * 1.01);
  });

  test("gives each percentile within 1 % of the exact one", () => {
    const samples = array(integer({ min: 1, max: 10_000_000 }), {
      minLength: 1,
      maxLength: 500,
    });
    assert(
      property(samples, constantFrom(50, 90, 99, 100), (values, percent) => {
        const histogram = new LatencyHistogram();
        for (const value of values) histogram.record(value);
        const sorted = values.toSorted((a, b) => a - b);
        const rank = Math.max(1, Math.round((percent / 100) * sorted.length));
        const exact = sorted[rank - 1] ?? 0;
        return Math.abs(histogram.percentile(percent) - exact) <= exact * 0.01 + 1;
      }),
    );
  });
});
