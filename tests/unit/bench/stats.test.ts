import { describe, expect, test } from "bun:test";
import { array, assert, integer, property, string } from "fast-check";

import { quantileInterval, ratioInterval } from "../../../bench/stats/bootstrap.ts";
import { jointPermutation, type TurnValues } from "../../../bench/stats/joint.ts";
import { slopeOf } from "../../../bench/stats/line.ts";
import { ecdfAt, ecdfPoints, quantile, sorted, summarize } from "../../../bench/stats/quantiles.ts";
import { Random } from "../../../bench/stats/random.ts";
import { adjustForMany, mannWhitney, permutationTest } from "../../../bench/stats/significance.ts";
import { zipf } from "../../../bench/stats/zipf.ts";

function firstFive(seed: string): number[] {
  const random = new Random(seed);
  return Array.from({ length: 5 }, () => random.next());
}

/** About normal, with a spread of a few units. */
const normalish = (random: Random, centre: number): number =>
  centre + (random.next() + random.next() + random.next() - 1.5) * 10;

function widthOf(rounds: number[][]): number {
  const { low, high } = quantileInterval(rounds, 0.5, new Random("w"), 300);
  return high - low;
}

describe("Random", () => {
  test("uint32() yields the published sequence when the state is 1, 2, 3, 4", () => {
    const random = new Random("", [1, 2, 3, 4]);
    expect([random.uint32(), random.uint32(), random.uint32()]).toEqual([11520, 0, 5927040]);
  });

  test("next() repeats itself when the seed is equal and differs when it is not", () => {
    expect(firstFive("a")).toEqual(firstFive("a"));
    expect(firstFive("a")).not.toEqual(firstFive("b"));
  });

  test("fork() does not depend on what was drawn before", () => {
    const used = new Random("s");
    used.next();
    expect(used.fork("x").next()).toBe(new Random("s").fork("x").next());
  });

  test("exponential() has the mean that was asked for", () => {
    const random = new Random("mean");
    let sum = 0;
    for (let i = 0; i < 50_000; i++) sum += random.exponential(200);
    expect(sum / 50_000).toBeCloseTo(200, -1);
  });

  test("shuffled() keeps every item", () => {
    assert(
      property(array(integer()), string(), (items, seed) => {
        const shuffled = new Random(seed).shuffled(items);
        expect(Array.from(sorted(shuffled))).toEqual(Array.from(sorted(items)));
      }),
    );
  });
});

describe("quantiles", () => {
  test("quantile() agrees with NumPy's default", () => {
    const values = sorted([15, 20, 35, 40, 50]);
    expect(quantile(values, 0.4)).toBeCloseTo(29, 9);
    expect(quantile(values, 0.05)).toBeCloseTo(16, 9);
    expect(quantile(values, 1)).toBe(50);
    expect(quantile(sorted([]), 0.5)).toBeNaN();
  });

  test("summarize() counts outliers and keeps them", () => {
    const summary = summarize([...Array.from({ length: 99 }, (_, i) => 100 + (i % 10)), 5000]);
    expect(summary).toMatchObject({ count: 100, outliers: 1, max: 5000, min: 100 });
  });

  test("ecdfAt() is the share of values up to a limit", () => {
    expect(ecdfAt(sorted([1, 2, 2, 3]), 2)).toBe(0.75);
    expect(ecdfAt(sorted([1, 2, 2, 3]), 0.5)).toBe(0);
  });

  test("ecdfPoints() keeps the extremes however many samples there are", () => {
    const values = sorted(Array.from({ length: 10_000 }, (_, i) => i));
    const points = ecdfPoints(values, 100);
    expect(points.length).toBeLessThan(200);
    expect(points[0]).toEqual({ value: 0, share: 0.0001 });
    expect(points.slice(-3).map((point) => point.value)).toEqual([9997, 9998, 9999]);
    expect(points.at(-1)?.share).toBe(1);
  });
});

describe("bootstrap", () => {
  test("quantileInterval() covers the true median in about 95 % of runs", () => {
    let covered = 0;
    for (let run = 0; run < 100; run++) {
      const random = new Random(`cover-${run}`);
      const samples = Array.from({ length: 60 }, () => normalish(random, 100));
      const { low, high } = quantileInterval([samples], 0.5, random.fork("boot"), 300);
      if (low <= 100 && 100 <= high) covered++;
    }
    expect(covered).toBeGreaterThanOrEqual(88);
    expect(covered).toBeLessThan(100);
  });

  test("quantileInterval() is wider when rounds differ than when they do not", () => {
    const random = new Random("rounds");
    const alike = Array.from({ length: 8 }, () =>
      Array.from({ length: 50 }, () => normalish(random, 100)),
    );
    const drifting = alike.map((round, i) => round.map((value) => value + i * 10));
    expect(widthOf(drifting)).toBeGreaterThan(3 * widthOf(alike));
  });

  test("ratioInterval() contains the true ratio and repeats itself", () => {
    const random = new Random("ratio");
    const slow = [Array.from({ length: 200 }, () => normalish(random, 300))];
    const fast = [Array.from({ length: 200 }, () => normalish(random, 100))];
    const once = ratioInterval(slow, fast, 0.5, new Random("r"), 300);
    expect(once.low).toBeLessThan(3.02);
    expect(once.high).toBeGreaterThan(2.98);
    expect(ratioInterval(slow, fast, 0.5, new Random("r"), 300)).toEqual(once);
  });

  test("quantileInterval() lets a long round weigh as much as it has samples", () => {
    const random = new Random("weights");
    const samples = (count: number, centre: number): number[] =>
      Array.from({ length: count }, () => normalish(random, centre));
    const rounds = [samples(12_000, 100), samples(1500, 300)];
    const { estimate, low, high } = quantileInterval(rounds, 0.5, new Random("w"), 200);
    expect(low).toBeLessThanOrEqual(estimate);
    expect(high).toBeGreaterThanOrEqual(estimate);
  });

  test("quantileInterval() is NaN where there is no sample", () => {
    expect(quantileInterval([], 0.5, new Random("n")).estimate).toBeNaN();
  });
});

describe("significance", () => {
  test("mannWhitney() agrees with an independent computation with ties", () => {
    // 55 of 64 pairs (ties count half) have the greater value in b; p from the same formula with
    // Python's math.erfc, which is exact to the last digit.
    const a = [19, 22, 16, 29, 24, 20, 22, 18];
    const b = [20, 28, 30, 27, 25, 31, 26, 29];
    const { p, superiority } = mannWhitney(a, b);
    expect(superiority).toBeCloseTo(55 / 64, 12);
    expect(p).toBeCloseTo(0.017874754681467066, 6);
  });

  test("mannWhitney() finds nothing when all values are equal", () => {
    expect(mannWhitney([1, 1, 1], [1, 1, 1])).toEqual({ p: 1, superiority: 0.5 });
  });

  test("permutationTest() is exact when the splits are few", () => {
    // Of the 20 splits of six values into halves two are as extreme as this one.
    expect(permutationTest([1, 2, 3], [10, 11, 12], new Random("p"))).toBeCloseTo(2 / 20, 12);
    expect(permutationTest([1, 2, 3], [1, 2, 3], new Random("p"))).toBe(1);
  });

  test("permutationTest() samples splits when they are many", () => {
    const a = Array.from({ length: 12 }, (_, i) => i);
    const b = a.map((value) => value + 20);
    expect(permutationTest(a, b, new Random("p"))).toBeLessThan(0.001);
    expect(permutationTest(a, a, new Random("p"))).toBeGreaterThan(0.9);
  });

  test('adjustForMany() agrees with R\'s p.adjust(method = "BH")', () => {
    const adjusted = adjustForMany([0.01, 0.04, 0.03, 0.005]);
    for (const [i, p] of [0.02, 0.04, 0.04, 0.02].entries()) expect(adjusted[i]).toBeCloseTo(p, 12);
  });
});

test("zipf() gives each item its weight", () => {
  const draw = zipf(3, 1, new Random("z"));
  const counts = [0, 0, 0];
  for (let i = 0; i < 60_000; i++) {
    const item = draw();
    counts[item] = (counts[item] ?? 0) + 1;
  }
  // Weights 1, 1/2, 1/3: shares 6/11, 3/11, 2/11.
  for (const [i, share] of [6 / 11, 3 / 11, 2 / 11].entries()) {
    expect((counts[i] ?? 0) / 60_000).toBeCloseTo(share, 2);
  }
});

describe("slopeOf()", () => {
  test("is the slope of exact lines and of a noisy one", () => {
    expect(slopeOf([1, 2, 5].map((x) => ({ x, y: 3 * x - 7 })))).toBeCloseTo(3, 12);
    const random = new Random("slope");
    const noisy = Array.from({ length: 200 }, (_, x) => ({ x, y: normalish(random, 2 * x) }));
    expect(slopeOf(noisy)).toBeCloseTo(2, 1);
    expect(slopeOf([{ x: 1, y: 2 }])).toBeNaN();
  });
});

describe("one executable against itself, in turns", () => {
  const QUESTIONS = 12;
  const TURNS = 5;
  const ROUNDS = 8;
  const RUNS = 200;

  /** Medians of rounds by turn: each turn has luck of its own, rounds within it add a little. */
  function turnsOf(random: Random): number[][] {
    return Array.from({ length: TURNS }, () => {
      const luck = normalish(random, 0) / 100;
      return Array.from({ length: ROUNDS }, () => luck + normalish(random, 0) / 400);
    });
  }

  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;

  test("jointPermutation() calls anything different in about 5 % of runs, rounds alone in most", () => {
    let [joint, naive] = [0, 0];
    for (let run = 0; run < RUNS; run++) {
      const random = new Random(`self-${run}`);
      const sides = Array.from({ length: QUESTIONS }, () => ({
        a: turnsOf(random),
        b: turnsOf(random),
      }));
      const values = sides.map(({ a, b }): TurnValues => ({ a: a.map(mean), b: b.map(mean) }));
      if (Math.min(...jointPermutation(values, random)) < 0.05) joint++;
      if (run >= 6) continue;
      // Few runs will do: 20,000 splits for each question take long.
      const ps = sides.map(({ a, b }) => permutationTest(a.flat(), b.flat(), random.fork("n")));
      if (Math.min(...adjustForMany(ps)) < 0.05) naive++;
    }
    // Of 200 runs at 5 %, more than 20 happen once in a thousand.
    expect(joint).toBeLessThanOrEqual(20);
    expect(naive).toBeGreaterThan(3);
  }, 60_000);

  test("jointPermutation() finds a difference of three spreads in one of twelve questions", () => {
    let found = 0;
    for (let run = 0; run < 50; run++) {
      const random = new Random(`shift-${run}`);
      const values = Array.from({ length: QUESTIONS }, (_, question): TurnValues => {
        const shift = question === 3 ? 0.25 : 0;
        return {
          a: turnsOf(random).map(mean),
          b: turnsOf(random).map((rounds) => mean(rounds) + shift),
        };
      });
      const ps = jointPermutation(values, random);
      if ((ps[3] ?? 1) < 0.05) found++;
    }
    expect(found).toBeGreaterThan(40);
  });

  test("jointPermutation() of one question is the exact test by turns", () => {
    const [p] = jointPermutation(
      [{ a: [1, 2, 3, 4, 5], b: [11, 12, 13, 14, 15] }],
      new Random("x"),
    );
    expect(p).toBeCloseTo(2 / 252, 12);
    expect(jointPermutation([], new Random("x"))).toEqual([]);
    expect(jointPermutation([{ a: [1, 1, 1, 1], b: [1, 1, 1, 1] }], new Random("x"))).toEqual([1]);
  });
});
