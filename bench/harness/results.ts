/**
 * The result file: raw samples, by round, with everything that is needed to judge or repeat them.
 * Reports and comparisons read these files only; nothing is measured twice to draw it.
 */

import type { MachineFacts } from "./machine.ts";

/** Bumped when a reader of older files would misread newer ones. */
export const RESULT_FORMAT = 1;

/** How much is measured: `full` for figures to cite, `small` for a look, `smoke` for the tests. */
export type Scale = "full" | "small" | "smoke";

/** Unit of every sample of a series. */
export type Unit = "us" | "per_s" | "bytes" | "count" | "ratio";

/** What a series is about, apart from its samples. */
export interface SeriesInfo {
  /** Unique in its experiment; stable over commits, so that runs can be compared. */
  readonly id: string;
  readonly label: string;
  readonly unit: Unit;
  readonly better: "lower" | "higher";
  /** `stage`: part of the subject of the same prefix; `context`: shown, never judged. */
  readonly role: "subject" | "reference" | "stage" | "context";
  /** Point of a curve: the curve's label, and where on the x axis it lies. */
  readonly curve: { readonly name: string; readonly x: number } | null;
}

/** Samples of one thing. */
export interface Series extends SeriesInfo {
  /** In the order measured; a round is one turn of all arms. */
  readonly rounds: readonly (readonly number[])[];
  /**
   * Where runs were joined: how many of the rounds came from each, in order. Rounds of one run share a worker
   * process, so runs are what is independent. Absent in a run by itself.
   */
  readonly turns?: readonly number[];
}

/** What one experiment gave. */
export interface ExperimentResult {
  readonly name: string;
  readonly title: string;
  readonly question: string;
  readonly parameters: Readonly<Record<string, string | number | boolean>>;
  readonly series: readonly Series[];
  /** Parts that were left out, each with the reason. */
  readonly skipped: readonly string[];
  readonly notes: readonly string[];
  /** Why it ended early; null: it did not. */
  readonly failed: string | null;
  readonly durationMs: number;
  /** 1-minute load average before it started: shows a disturbed run. */
  readonly loadBefore: number;
}

/** One run of the suite. */
export interface ResultFile {
  readonly format: typeof RESULT_FORMAT;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly command: string;
  readonly seed: string;
  readonly scale: Scale;
  readonly machine: MachineFacts;
  readonly experiments: readonly ExperimentResult[];
}

/**
 * @param path of a result file
 * @throws {Error} when it is none, or of another format
 */
export async function readResults(path: string): Promise<ResultFile> {
  const parsed: unknown = await Bun.file(path).json();
  const format = (parsed as { readonly format?: unknown } | null)?.format;
  if (format !== RESULT_FORMAT) {
    throw new Error(
      `Cannot read "${path}": its format is ${JSON.stringify(format)}, wanted ${RESULT_FORMAT}`,
    );
  }
  return parsed as ResultFile;
}

/** Shortens samples to a tenth of a unit: below that is noise, and files shrink to a third. */
const shorten = (_key: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isInteger(value) && Math.abs(value) > 1
    ? Math.round(value * 10) / 10
    : value;

/**
 * @param path where to
 * @param results one run
 */
export async function writeResults(path: string, results: ResultFile): Promise<void> {
  await Bun.write(path, `${JSON.stringify(results, shorten)}\n`);
}

/**
 * @param results one run
 * @param experiment its name
 * @param id the series
 * @returns the series, or null where this run has none
 */
export function findSeries(results: ResultFile, experiment: string, id: string): Series | null {
  const found = results.experiments.find((each) => each.name === experiment);
  return found?.series.find((each) => each.id === id) ?? null;
}

/** @returns samples by what is independent: by turn where runs were joined, else by round */
export function independentRounds({ rounds, turns }: Series): (readonly number[])[] {
  if (turns === undefined) return [...rounds];
  let from = 0;
  return turns.map((count) => {
    const turn = rounds.slice(from, from + count).flat();
    from += count;
    return turn;
  });
}

/** @returns all samples of a series in order */
export function samplesOf(series: Series): number[] {
  return series.rounds.flat();
}
