/** Ways in which a promise's figure follows from series of one run. */

import { independentRounds, samplesOf, type Series } from "./harness/results.ts";
import { quantileInterval, ratioInterval, type Interval } from "./stats/bootstrap.ts";
import { slopeOf } from "./stats/line.ts";
import { median } from "./stats/quantiles.ts";
import { Random } from "./stats/random.ts";

/** Looks a series of the bar's experiment up. */
export type Find = (id: string) => Series | null;

const random = (id: string): Random => new Random(`bars/${id}`);

/** Ratio of two medians. */
export const ratio =
  (above: string, below: string) =>
  (find: Find): Interval | null => {
    const [a, b] = [find(above), find(below)];
    if (a === null || b === null) return null;
    return ratioInterval(
      independentRounds(a),
      independentRounds(b),
      0.5,
      random(`${above}/${below}`),
    );
  };

/** One quantile of one series. */
export const value =
  (id: string, q = 0.5) =>
  (find: Find): Interval | null => {
    const series = find(id);
    return series === null ? null : quantileInterval(independentRounds(series), q, random(id));
  };

/** p99 over p50 of one series, by round-free estimate with the interval of its p99. */
export const tail =
  (id: string) =>
  (find: Find): Interval | null => {
    const series = find(id);
    if (series === null) return null;
    const p50 = median(samplesOf(series));
    const p99 = quantileInterval(independentRounds(series), 0.99, random(`${id}.tail`));
    return { estimate: p99.estimate / p50, low: p99.low / p50, high: p99.high / p50 };
  };

/** Difference of two medians. */
export const difference =
  (of: string, over: string) =>
  (find: Find): Interval | null => {
    const [a, b] = [find(of), find(over)];
    if (a === null || b === null) return null;
    const [x, y] = [value(of)(find), value(over)(find)];
    if (x === null || y === null) return null;
    return { estimate: x.estimate - y.estimate, low: x.low - y.high, high: x.high - y.low };
  };

/** A count or a memory figure of the leak check. */
const LEFT = ["mounts", "cgroups", "processes", "workerFds", "scratchEntries", "workerRssBytes"];

/**
 * The worst of what 1,000 creates and destroys left over. Counts: last look less the first, over all rounds,
 * so that one lost descriptor in a thousand is seen. Memory: a heap breathes by megabytes, so its growth per round
 * is the slope over all rounds, in whole megabytes.
 * @param find looks a series up
 */
export function leftOver(find: Find): Interval | null {
  let worst = 0;
  for (const kind of LEFT) {
    const series = find(`left-${kind}`);
    if (series === null) return null;
    const left = samplesOf(series);
    // The first look, which all samples are relative to, is a point of the line as well.
    const slope = slopeOf([0, ...left].map((y, x) => ({ x, y })));
    worst = Math.max(
      worst,
      series.unit === "bytes" ? Math.floor(slope / 2 ** 20) : (left.at(-1) ?? Number.NaN),
    );
  }
  return { estimate: worst, low: worst, high: worst };
}

/**
 * @param id of a series
 * @param us limit
 * @returns whether its median exceeds the limit; true where it was not measured
 */
export const longerThan =
  (id: string, us: number) =>
  (find: Find): boolean => {
    const series = find(id);
    return series === null || median(samplesOf(series)) > us;
  };
