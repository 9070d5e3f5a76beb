/** Joins runs of the same executable into one, so that A/B runs can take turns and still be compared. */

import type { ExperimentResult, ResultFile, Series } from "./results.ts";

/** Series by id; `lists` has one entry per run, empty where a run lacks the experiment. */
function mergeSeries(lists: readonly (readonly Series[])[]): Series[] {
  const ids = [...new Set(lists.flat().map(({ id }) => id))];
  return ids.flatMap((id) => {
    const parts = lists.map((list) => list.find((each) => each.id === id));
    const head = parts.find((part) => part !== undefined);
    if (head === undefined) return [];
    return [
      {
        ...head,
        rounds: parts.flatMap((part) => part?.rounds ?? []),
        turns: parts.map((part) => part?.rounds.length ?? 0),
      },
    ];
  });
}

function mergeExperiment(all: readonly (ExperimentResult | undefined)[]): ExperimentResult[] {
  const parts = all.filter((each) => each !== undefined);
  const [first] = parts;
  if (first === undefined) return [];
  return [
    {
      ...first,
      series: mergeSeries(all.map((each) => each?.series ?? [])),
      skipped: [...new Set(parts.flatMap(({ skipped }) => skipped))],
      notes: [...new Set(parts.flatMap(({ notes }) => notes))],
      failed: parts.find(({ failed }) => failed !== null)?.failed ?? null,
      durationMs: parts.reduce((sum, { durationMs }) => sum + durationMs, 0),
      loadBefore: Math.max(...parts.map(({ loadBefore }) => loadBefore)),
    },
  ];
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
    experiments: names.flatMap((name) =>
      mergeExperiment(
        runs.map(({ experiments }) => experiments.find((each) => each.name === name)),
      ),
    ),
  };
}
