/** Tests of significance for `compare`, and the correction for asking many questions at once. */

import type { Random } from "./random.ts";

/** Splits tried where there are too many to try all. */
const PERMUTATIONS_MAX = 20_000;

/** Outcome of a rank test. */
export interface RankTest {
  /** Two-sided probability of a difference at least this large where there is none. */
  readonly p: number;
  /** Probability that a random value of `b` is greater than one of `a`; 0.5 means alike. */
  readonly superiority: number;
}

/**
 * Complementary error function to seven digits (Numerical Recipes' Chebyshev fit).
 * @param x any number
 */
function erfc(x: number): number {
  const z = Math.abs(x);
  const t = 1 / (1 + z / 2);
  const poly = [
    1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
    -0.82215223, 0.17087277,
  ];
  const series = poly.reduceRight((sum, c) => sum * t + c, 0) * t;
  const value = t * Math.exp(-z * z - 1.26551223 + series);
  return x >= 0 ? value : 2 - value;
}

/**
 * Mann-Whitney U test, normal approximation with correction for ties and continuity.
 * @param a at least 8 samples, or the approximation is poor
 * @param b likewise
 * @see https://en.wikipedia.org/wiki/Mann-Whitney_U_test
 */
export function mannWhitney(a: readonly number[], b: readonly number[]): RankTest {
  const all = [
    ...a.map((value) => ({ value, fromB: false })),
    ...b.map((value) => ({ value, fromB: true })),
  ];
  all.sort((x, y) => x.value - y.value);
  let rankSumB = 0;
  let ties = 0;
  for (let start = 0; start < all.length;) {
    let end = start;
    while (end < all.length && all[end]?.value === all[start]?.value) end++;
    const rank = (start + 1 + end) / 2;
    const tied = end - start;
    ties += tied ** 3 - tied;
    for (let i = start; i < end; i++) if (all[i]?.fromB === true) rankSumB += rank;
    start = end;
  }
  const n = a.length;
  const m = b.length;
  const total = n + m;
  const u = rankSumB - (m * (m + 1)) / 2;
  const variance = ((n * m) / 12) * (total + 1 - ties / (total * (total - 1)));
  const superiority = u / (n * m);
  if (!(variance > 0)) return { p: 1, superiority };
  const distance = Math.max(0, Math.abs(u - (n * m) / 2) - 0.5);
  return { p: Math.min(1, erfc(distance / Math.sqrt(2 * variance))), superiority };
}

/** Number of ways to choose `k` of `n`, or Infinity once it is more than anyone would try. */
function choose(n: number, k: number): number {
  let ways = 1;
  for (let i = 1; i <= k; i++) ways = (ways * (n - k + i)) / i;
  return ways;
}

/**
 * Permutation test on the difference of means: all splits where they are few, else random ones.
 * Meant for one number per round, of which there are too few for an approximation.
 * @param a values of one side
 * @param b values of the other
 * @param random draws the splits where they cannot all be tried
 * @returns two-sided p
 */
export function permutationTest(
  a: readonly number[],
  b: readonly number[],
  random: Random,
): number {
  const all = [...a, ...b];
  const sumAll = all.reduce((sum, value) => sum + value, 0);
  const distance = (sumA: number): number => Math.abs(sumA / a.length - (sumAll - sumA) / b.length);
  // A split that equals the observed one but for rounding must count as equal.
  const observed = distance(a.reduce((sum, value) => sum + value, 0)) * (1 - 1e-9);
  if (choose(all.length, a.length) <= PERMUTATIONS_MAX) {
    let tried = 0;
    let extreme = 0;
    const walk = (index: number, left: number, sum: number): void => {
      if (left === 0) {
        tried++;
        if (distance(sum) >= observed) extreme++;
        return;
      }
      if (all.length - index < left) return;
      walk(index + 1, left - 1, sum + (all[index] as number));
      walk(index + 1, left, sum);
    };
    walk(0, a.length, 0);
    return extreme / tried;
  }
  let extreme = 1;
  for (let i = 0; i < PERMUTATIONS_MAX; i++) {
    const split = random.shuffled(all);
    let sum = 0;
    for (let j = 0; j < a.length; j++) sum += split[j] as number;
    if (distance(sum) >= observed) extreme++;
  }
  return extreme / (PERMUTATIONS_MAX + 1);
}

/**
 * Benjamini-Hochberg: of the differences called real, at most the share `q` is false.
 * @param ps p values of all questions asked
 * @returns adjusted values in the same order, to be held against q
 */
export function adjustForMany(ps: readonly number[]): number[] {
  const order = ps.map((p, index) => ({ p, index })).toSorted((x, y) => y.p - x.p);
  const adjusted: number[] = Array.from({ length: ps.length }, () => 1);
  let lowest = 1;
  for (const [position, { p, index }] of order.entries()) {
    lowest = Math.min(lowest, (p * ps.length) / (ps.length - position));
    adjusted[index] = lowest;
  }
  return adjusted;
}
