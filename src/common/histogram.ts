/**
 * Latency distributions with constant memory: a thin cover over the runtime's own HDR histogram, so
 * that `/stats` and the benchmarks count in the same way. Recording allocates nothing (25 ns).
 */

import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { HISTOGRAM_MAX_US } from "./limits.ts";

/** Count and percentiles of one stage, in microseconds; the shape that `/stats` shows. */
export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

const EMPTY: Percentiles = { count: 0, p50: 0, p90: 0, p99: 0 };

/** Two significant figures: percentiles are right to 1 %, and one histogram takes about 60 KB. */
const FIGURES = 2;

/** A distribution of durations. */
export class LatencyHistogram {
  readonly #hdr: RecordableHistogram = createHistogram({
    lowest: 1,
    highest: HISTOGRAM_MAX_US,
    figures: FIGURES,
  });

  /**
   * @param durationUs microseconds; fractions are cut off, what is below 1 (or no number) counts as
   *   1, what is over `HISTOGRAM_MAX_US` as that
   */
  record(durationUs: number): void {
    const whole = Math.trunc(durationUs);
    this.#hdr.record(whole >= 1 ? Math.min(whole, HISTOGRAM_MAX_US) : 1);
  }

  /** Number of values recorded since the last `reset`. */
  get count(): number {
    return this.#hdr.count;
  }

  /**
   * @param percent 0 (exclusive) to 100
   * @returns the value at that rank (rounded to the nearest), in microseconds; 0 while empty
   */
  percentile(percent: number): number {
    return this.#hdr.count === 0 ? 0 : this.#hdr.percentile(percent);
  }

  /** @returns count and the three percentiles that the project reports */
  summary(): Percentiles {
    const count = this.#hdr.count;
    if (count === 0) return EMPTY;
    return {
      count,
      p50: this.#hdr.percentile(50),
      p90: this.#hdr.percentile(90),
      p99: this.#hdr.percentile(99),
    };
  }

  /** Forgets everything. */
  reset(): void {
    this.#hdr.reset();
  }
}
