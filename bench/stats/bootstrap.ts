/**
 * Confidence intervals by resampling. Samples of one round share its luck (page cache, neighbours,
 * clock speed), so rounds are resampled first and samples within a round second: an interval that
 * ignored that would be far too narrow.
 */

import { quantile, sorted, type Sorted } from "./quantiles.ts";
import type { Random } from "./random.ts";

/** Resamples per interval: the ends of a 95 % interval then rest on 25 values each. */
const BOOTSTRAP_RESAMPLES = 1000;

/** Rounds that are needed before resampling whole rounds says anything. */
const ROUNDS_MIN = 4;

/** Values kept in all: more would cost seconds per interval and move its ends by under 1 %. */
const VALUES_MAX = 4000;

/** An estimate with its 95 % interval. */
export interface Interval {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Evenly spaced order statistics stand for long rounds, by the same share of each: a round must not
 * weigh more than it has samples.
 */
function condensed(rounds: readonly ArrayLike<number>[]): Sorted[] {
  const total = rounds.reduce((sum, round) => sum + round.length, 0);
  const share = VALUES_MAX / total;
  return rounds.map((round) => {
    const values = sorted(round);
    if (share >= 1) return values;
    const length = Math.max(1, Math.round(values.length * share));
    return Float64Array.from({ length }, (_, i) => quantile(values, (i + 0.5) / length));
  });
}

/** Where each value of the rounds stands among all of them. */
interface Ranked {
  readonly values: Sorted;
  /** Ranks by round. */
  readonly rounds: readonly Int32Array[];
}

function rank(rounds: readonly Sorted[]): Ranked {
  const all = rounds.flatMap((round, r) => Array.from(round, (value, i) => ({ value, r, i })));
  all.sort((a, b) => a.value - b.value);
  const ranks = rounds.map((round) => new Int32Array(round.length));
  for (const [at, { r, i }] of all.entries()) (ranks[r] as Int32Array)[i] = at;
  return { values: Float64Array.from(all, ({ value }) => value), rounds: ranks };
}

/** Quantile of a resample that is given as how often each value was drawn. */
function countedQuantile(values: Sorted, counts: Uint32Array, total: number, q: number): number {
  const position = (total - 1) * q;
  const below = Math.floor(position);
  let seen = 0;
  let low = Number.NaN;
  for (let i = 0; i < counts.length; i++) {
    seen += counts[i] as number;
    if (seen <= below) continue;
    const value = values[i] as number;
    if (Number.isNaN(low)) low = value;
    if (seen > below + 1 || below + 1 >= total) return low + (value - low) * (position - below);
  }
  return low;
}

/**
 * A drawer of quantiles of resamples of the same shape as the rounds it was made of. Draws are counted
 * by rank instead of being sorted, which is ten times as fast.
 */
function resampler(rounds: readonly ArrayLike<number>[], q: number, random: Random): () => number {
  const { values, rounds: ranked } = rank(condensed(rounds.filter((round) => round.length > 0)));
  // Too few rounds to resample them: all samples are then taken as one.
  const kept = ranked.length >= ROUNDS_MIN ? ranked : [Int32Array.from(values, (_, i) => i)];
  const counts = new Uint32Array(values.length);
  return () => {
    counts.fill(0);
    let total = 0;
    for (let i = 0; i < kept.length; i++) {
      const round = kept[random.int(kept.length)] as Int32Array;
      total += round.length;
      for (let j = 0; j < round.length; j++) {
        const at = round[random.int(round.length)] as number;
        counts[at] = (counts[at] as number) + 1;
      }
    }
    return countedQuantile(values, counts, total, q);
  };
}

/** Percentile interval of a statistic of resamples. */
function interval(estimate: number, draw: () => number, resamples: number): Interval {
  const draws = sorted(Array.from({ length: resamples }, draw));
  return { estimate, low: quantile(draws, 0.025), high: quantile(draws, 0.975) };
}

const pooled = (rounds: readonly ArrayLike<number>[]): Sorted =>
  sorted(rounds.flatMap((round) => Array.from(round)));

/**
 * @param rounds samples by round
 * @param q which quantile, 0 to 1
 * @param random source of the resamples
 * @param resamples default 1,000
 * @returns the quantile of all samples with its 95 % interval
 */
export function quantileInterval(
  rounds: readonly ArrayLike<number>[],
  q: number,
  random: Random,
  resamples = BOOTSTRAP_RESAMPLES,
): Interval {
  const estimate = quantile(pooled(rounds), q);
  if (Number.isNaN(estimate)) return { estimate, low: Number.NaN, high: Number.NaN };
  return interval(estimate, resampler(rounds, q, random), resamples);
}

/**
 * @param numerator samples by round
 * @param denominator samples by round
 * @param q which quantile of both
 * @param random source of the resamples
 * @param resamples default 1,000
 * @returns quantile of the one divided by quantile of the other, with its 95 % interval
 */
export function ratioInterval(
  numerator: readonly ArrayLike<number>[],
  denominator: readonly ArrayLike<number>[],
  q: number,
  random: Random,
  resamples = BOOTSTRAP_RESAMPLES,
): Interval {
  const estimate = quantile(pooled(numerator), q) / quantile(pooled(denominator), q);
  if (Number.isNaN(estimate)) return { estimate, low: Number.NaN, high: Number.NaN };
  const above = resampler(numerator, q, random);
  const below = resampler(denominator, q, random);
  return interval(estimate, () => above() / below(), resamples);
}
