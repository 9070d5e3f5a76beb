/** Order statistics and the empirical distribution: what every table and picture is made of. */

/** Ascending numbers; made by `sorted` only. */
export type Sorted = Float64Array;

/**
 * @param samples in any order
 * @returns a sorted copy
 */
export function sorted(samples: ArrayLike<number>): Sorted {
  return Float64Array.from(samples).toSorted();
}

/**
 * Quantile by linear interpolation between order statistics (type 7 of Hyndman and Fan, the default
 * of R and NumPy).
 * @param values ascending
 * @param q from 0 to 1
 * @returns NaN where there is no value
 */
export function quantile(values: Sorted, q: number): number {
  if (values.length === 0) return Number.NaN;
  const position = (values.length - 1) * Math.min(1, Math.max(0, q));
  const below = Math.floor(position);
  const low = values[below] as number;
  const high = values[Math.min(below + 1, values.length - 1)] as number;
  return low + (high - low) * (position - below);
}

/**
 * @param samples in any order
 * @returns their median, NaN where there is none
 */
export function median(samples: ArrayLike<number>): number {
  return quantile(sorted(samples), 0.5);
}

/** The row that a table shows of one series. */
export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly p25: number;
  readonly p50: number;
  readonly p75: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly mean: number;
  /** Samples beyond 3 interquartile ranges above the third quartile; shown, never dropped. */
  readonly outliers: number;
}

/**
 * @param samples in any order
 * @returns quantiles, extremes and the number of outliers
 */
export function summarize(samples: ArrayLike<number>): Summary {
  const values = sorted(samples);
  const at = (q: number): number => quantile(values, q);
  const fence = at(0.75) + 3 * (at(0.75) - at(0.25));
  let sum = 0;
  for (const value of values) sum += value;
  return {
    count: values.length,
    min: at(0),
    p25: at(0.25),
    p50: at(0.5),
    p75: at(0.75),
    p90: at(0.9),
    p99: at(0.99),
    p999: at(0.999),
    max: at(1),
    mean: sum / values.length,
    outliers: values.length - upperBound(values, fence),
  };
}

/** Index of the first value greater than `limit`. */
function upperBound(values: Sorted, limit: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] as number) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Empirical cumulative distribution.
 * @param values ascending
 * @param limit where to read it
 * @returns share of the values that are at most `limit`
 */
export function ecdfAt(values: Sorted, limit: number): number {
  return values.length === 0 ? Number.NaN : upperBound(values, limit) / values.length;
}

/** One step of a drawn distribution: at `value` the share reaches `share`. */
export interface EcdfPoint {
  readonly value: number;
  readonly share: number;
}

/**
 * Steps of the distribution, thinned for drawing. Both tails keep every sample, so an outlier is
 * seen however many samples there are.
 * @param values ascending
 * @param pointsMax points to keep of the middle, and of each tail
 * @returns ascending steps, the last one with share 1
 */
export function ecdfPoints(values: Sorted, pointsMax = 200): EcdfPoint[] {
  const count = values.length;
  const points: EcdfPoint[] = [];
  const stride = Math.max(1, count / pointsMax);
  let next = 0;
  for (let i = 0; i < count; i++) {
    const inTail = i < pointsMax / 4 || i >= count - pointsMax / 4;
    if (!inTail && i < next) continue;
    next = i + stride;
    points.push({ value: values[i] as number, share: (i + 1) / count });
  }
  return points;
}
