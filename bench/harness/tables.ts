/** Tables for a terminal. */

import type { BarOutcome } from "../bars.ts";
import type { Comparison } from "../compare.ts";
import { summarize } from "../stats/quantiles.ts";
import { formatValue, say } from "./output.ts";
import { samplesOf, type ResultFile } from "./results.ts";

/** Columns as wide as their widest cell; the first `left` ones are text. */
function table(rows: readonly (readonly string[])[], left: number): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i < left ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return rows.map(line).join("\n");
}

/** @param results one run: every series in one line */
export function printSummary(results: ResultFile): void {
  for (const experiment of results.experiments) {
    say(`\n${experiment.title} (${experiment.name})`);
    const rows = experiment.series.map((series) => {
      const { count, p50, p90, p99, max, outliers } = summarize(samplesOf(series));
      const show = (value: number): string => formatValue(value, series.unit);
      return [series.label, `${count}`, show(p50), show(p90), show(p99), show(max), `${outliers}`];
    });
    say(table([["", "n", "p50", "p90", "p99", "max", "outliers"], ...rows], 1));
    for (const note of experiment.notes) say(`note: ${note}`);
    for (const skipped of experiment.skipped) say(`left out: ${skipped}`);
    if (experiment.failed !== null) say(`FAILED: ${experiment.failed}`);
  }
}

/** @param outcomes every promise */
export function printBars(outcomes: readonly BarOutcome[]): void {
  const rows = outcomes.map(({ bar, measured, verdict, clear }) => {
    const show = (value: number): string => formatValue(value, bar.unit);
    const range = measured === null ? "" : `[${show(measured.low)}, ${show(measured.high)}]`;
    return [
      clear || measured === null ? verdict : `${verdict} (unclear)`,
      bar.figure,
      `${bar.limit.kind} ${show(bar.limit.value)}`,
      measured === null ? "-" : show(measured.estimate),
      range,
    ];
  });
  say(`\n${table([["", "figure", "bar", "measured", "95 %"], ...rows], 3)}`);
  const missing = outcomes.filter(({ measured }) => measured === null).map(({ bar }) => bar);
  if (missing.length === 0) return;
  const names = [...new Set(missing.map(({ experiment }) => experiment))].join(" ");
  say(`\n${missing.length} of ${outcomes.length} not measured; missing: npm run bench -- ${names}`);
}

/** @param comparison of two runs: real differences first */
export function printComparison({ differences, warnings, leftOut }: Comparison): void {
  for (const warning of warnings) say(`careful: ${warning}`);
  const order = ["worse", "better", "too few samples", "no difference shown"];
  const rows = differences
    .toSorted((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict))
    .map((each) => {
      const show = (value: number): string => formatValue(value, each.unit);
      const { estimate, low, high } = each.ratio;
      return [
        each.verdict,
        `${each.experiment}: ${each.label}, ${each.statistic}`,
        each.role,
        show(each.before),
        show(each.after),
        `${estimate.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`,
        Number.isNaN(each.p) ? "-" : each.p.toPrecision(2),
        each.basis,
      ];
    });
  const head = ["", "figure", "role", "before", "after", "after/before [95 %]", "p", "from"];
  say(table([head, ...rows], 3));
  for (const each of leftOut) say(`not compared: ${each}`);
}
