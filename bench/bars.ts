/**
 * Holds a run against promises: what a bar is, how it is measured and what a verdict means. The promises
 * themselves are in `promises.ts`.
 */

import { findSeries, type ResultFile, type Series, type Unit } from "./harness/results.ts";
import { BARS } from "./promises.ts";
import type { Interval } from "./stats/bootstrap.ts";

/** One promise. */
export interface Bar {
  readonly id: string;
  readonly figure: string;
  readonly reference: string;
  readonly limit: { readonly kind: "at most" | "at least"; readonly value: number };
  readonly unit: Unit;
  /** Which experiment gives it. */
  readonly experiment: string;
  /** Shown beside the promises, never judged: it depends on the machine alone. */
  readonly informs?: boolean;
  /** Whether the promise is about what was measured; default always. */
  applies?(series: (id: string) => Series | null): boolean;
  /** @returns the measured figure, or null where the run lacks a series for it */
  measure(series: (id: string) => Series | null): Interval | null;
}

/** A promise held against a run. */
export interface BarOutcome {
  readonly bar: Bar;
  /** Null: not measured in this run. */
  readonly measured: Interval | null;
  /** By the estimate. */
  readonly verdict: "pass" | "fail" | "not measured" | "does not apply" | "for information";
  /** Whether the whole interval lies on the verdict's side. */
  readonly clear: boolean;
}

/**
 * @param results one run
 * @param bars default: the budget
 * @returns every promise held against the run
 */
export function judge(results: ResultFile, bars: readonly Bar[] = BARS): BarOutcome[] {
  return bars.map((bar): BarOutcome => {
    const find = (id: string): Series | null => findSeries(results, bar.experiment, id);
    const measured = bar.measure(find);
    if (measured === null || Number.isNaN(measured.estimate)) {
      return { bar, measured: null, verdict: "not measured", clear: false };
    }
    const within = (figure: number): boolean =>
      bar.limit.kind === "at most" ? figure <= bar.limit.value : figure >= bar.limit.value;
    const pass = within(measured.estimate);
    const clear = within(measured.low) === pass && within(measured.high) === pass;
    if (bar.informs === true) return { bar, measured, verdict: "for information", clear: true };
    if (bar.applies?.(find) === false) {
      return { bar, measured, verdict: "does not apply", clear: true };
    }
    return { bar, measured, verdict: pass ? "pass" : "fail", clear };
  });
}

/**
 * @param outcomes of all promises
 * @returns exit status: 1 where one is missed, else 3 where one was not measured, else 0: a promise that nobody
 *   looked at must not look kept
 */
export function barsStatus(outcomes: readonly BarOutcome[]): number {
  const some = (verdict: BarOutcome["verdict"]): boolean =>
    outcomes.some((each) => each.verdict === verdict && each.bar.informs !== true);
  if (some("fail")) return 1;
  return some("not measured") ? 3 : 0;
}
