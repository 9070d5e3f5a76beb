/** Joins runs of the same executable into one, so that A/B runs can take turns and still be compared. */

import type { ExperimentResult, ResultFile, Series } from "./results.ts";

function mergeSeries(lists: readonly (readonly Series[])[]): Series[] {
  const merged = new Map<string, Series>();
  for (const series of lists.flat()) {
    const known = merged.get(series.id);
    const rounds = known === undefined ? series.rounds : [...known.rounds, ...series.rounds];
    merged.set(series.id, { ...series, rounds });
  }
  return [...merged.values()];
}

function mergeExperiment(
  parts: readonly [ExperimentResult, ...ExperimentResult[]],
): ExperimentResult {
  const [first] = parts;
  return {
    ...first,
    series: mergeSeries(parts.map(({ series }) => series)),
    skipped: [...new Set(parts.flatMap(({ skipped }) => skipped))],
    notes: [...new Set(parts.flatMap(({ notes }) => notes))],
    failed: parts.find(({ failed }) => failed !== null)?.failed ?? null,
    durationMs: parts.reduce((sum, { durationMs }) => sum + durationMs, 0),
    loadBefore: Math.max(...parts.map(({ loadBefore }) => loadBefore)),
  };
}

/**
 * @param runs of one executable with one scale, in the order measured
 * @returns one run with the rounds of all
 */
export function mergeRuns(runs: readonly [ResultFile, ...ResultFile[]]): ResultFile {
  const [first] = runs;
  const names = [
    ...new Set(runs.flatMap(({ experiments }) => experiments.map(({ name }) => name))),
  ];
  return {
    ...first,
    durationMs: runs.reduce((sum, { durationMs }) => sum + durationMs, 0),
    experiments: names.flatMap((name) => {
      const [head, ...rest] = runs.flatMap(({ experiments }) =>
        experiments.filter((each) => each.name === name),
      );
      return head === undefined ? [] : [mergeExperiment([head, ...rest])];
    }),
  };
}
