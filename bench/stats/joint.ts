/**
 * One permutation test for all questions of an A/B run. What is independent there is a turn: a worker
 * process with its own memory layout, compiled code and luck. Its rounds share all of that, so labels are
 * permuted by turn, for all questions at once, and each question's statistic is held against the
 * largest of all (Westfall and Young's step-down maxT). Chance differences of many questions are accounted for
 * without dividing p by their number, which no test with a handful of turns could survive.
 */

import type { Random } from "./random.ts";

/** Splits tried where there are too many to try all. */
const SPLITS_MAX = 5000;

/** One figure by turn, on a scale on which differences mean the same everywhere, such as a logarithm. */
export interface TurnValues {
  readonly a: readonly number[];
  readonly b: readonly number[];
}

/** All ways to choose `k` of `n`, or null where they are more than anyone would try. */
function allSplits(n: number, k: number): number[][] | null {
  let ways = 1;
  for (let i = 1; i <= k; i++) ways = (ways * (n - k + i)) / i;
  if (ways > SPLITS_MAX) return null;
  const splits: number[][] = [];
  const walk = (from: number, chosen: readonly number[]): void => {
    if (chosen.length === k) {
      splits.push([...chosen]);
      return;
    }
    for (let i = from; i <= n - (k - chosen.length); i++) walk(i + 1, [...chosen, i]);
  };
  walk(0, []);
  return splits;
}

/** Size of the difference of means in units of its standard error (pooled). */
function studentized(values: readonly number[], chosen: readonly number[]): number {
  const n = chosen.length;
  const m = values.length - n;
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  let sumA = 0;
  for (const index of chosen) sumA += values[index] as number;
  const [meanA, meanB] = [sumA / n, (sum - sumA) / m];
  const within = Math.max(0, squares - n * meanA * meanA - m * meanB * meanB) / (n + m - 2);
  const error = Math.sqrt(within * (1 / n + 1 / m));
  // Turns that agree to the last digit leave nothing to divide by: any difference is then beyond doubt.
  return error > 1e-12 ? Math.abs(meanA - meanB) / error : meanA === meanB ? 0 : 1e9;
}

/**
 * @param questions each with as many turns as the others
 * @param random draws the splits where they cannot all be tried
 * @returns two-sided p of each question, adjusted for all of them
 */
export function jointPermutation(questions: readonly TurnValues[], random: Random): number[] {
  const [first] = questions;
  if (first === undefined) return [];
  const n = first.a.length;
  // Centred: differences of large numbers would lose digits.
  const pooled = questions.map(({ a, b }) => {
    const all = [...a, ...b];
    const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
    return all.map((value) => value - mean);
  });
  const total = n + first.b.length;
  const indices = Array.from({ length: total }, (_, i) => i);
  const splits =
    allSplits(total, n) ??
    Array.from({ length: SPLITS_MAX }, (_, i) =>
      i === 0 ? indices.slice(0, n) : random.shuffled(indices).slice(0, n),
    );
  const observed = pooled.map((values) => studentized(values, indices.slice(0, n)));
  // Step-down: a question competes with those that are no clearer than itself.
  const order = indicesBy(observed);
  const exceeded = questions.map(() => 0);
  for (const split of splits) {
    let largest = 0;
    for (const index of order) {
      largest = Math.max(largest, studentized(pooled[index] as number[], split));
      if (largest >= (observed[index] as number) * (1 - 1e-9)) {
        exceeded[index] = (exceeded[index] as number) + 1;
      }
    }
  }
  const adjusted = exceeded.map((count) => count / splits.length);
  // No question may be surer than a clearer one.
  let least = 0;
  for (const index of order.toReversed()) {
    least = Math.max(least, adjusted[index] as number);
    adjusted[index] = least;
  }
  return adjusted;
}

/** Positions from the smallest value to the largest. */
function indicesBy(values: readonly number[]): number[] {
  return values.map((_, i) => i).toSorted((i, j) => (values[i] as number) - (values[j] as number));
}
