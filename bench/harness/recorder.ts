/** Collects what an experiment finds while it runs, so that a failure half-way loses nothing. */

import type { ExperimentResult, Series, SeriesInfo } from "./results.ts";

/** Subjects first, in tables and pictures. */
const ROLES: readonly SeriesInfo["role"][] = ["subject", "stage", "reference", "context"];

/** What most series have. */
export const LATENCY = {
  unit: "us",
  better: "lower",
  role: "subject",
  curve: null,
} as const satisfies Partial<SeriesInfo>;

/** What most rates have. */
export const RATE = {
  unit: "per_s",
  better: "higher",
  role: "subject",
  curve: null,
} as const satisfies Partial<SeriesInfo>;

/** One experiment's notebook. */
export class Recorder {
  readonly #series = new Map<string, { info: SeriesInfo; rounds: number[][] }>();
  readonly #skipped: string[] = [];
  readonly #notes: string[] = [];
  readonly #parameters: Record<string, string | number | boolean> = {};

  /**
   * Adds one round to a series, creating it with its first round.
   * @param info what the series is
   * @param samples of this round; none is fine
   */
  add(info: SeriesInfo, samples: readonly number[]): void {
    const known = this.#series.get(info.id);
    if (known === undefined) this.#series.set(info.id, { info, rounds: [[...samples]] });
    else known.rounds.push([...samples]);
  }

  /** @param why a part could not run here, and what it needs */
  skip(why: string): void {
    if (!this.#skipped.includes(why)) this.#skipped.push(why);
  }

  /** @param text something that a reader of the figures must know */
  note(text: string): void {
    if (!this.#notes.includes(text)) this.#notes.push(text);
  }

  /**
   * @param name of a setting
   * @param value that it had
   */
  parameter(name: string, value: string | number | boolean): void {
    this.#parameters[name] = value;
  }

  /** @returns the series so far, in an order that does not depend on which arm came first */
  series(): Series[] {
    return [...this.#series.values()]
      .map(({ info, rounds }) => ({ ...info, rounds }))
      .toSorted(
        (a, b) =>
          ROLES.indexOf(a.role) - ROLES.indexOf(b.role) ||
          (a.curve?.x ?? 0) - (b.curve?.x ?? 0) ||
          a.id.localeCompare(b.id, "en", { numeric: true }),
      );
  }

  /**
   * @param head what is known from outside
   * @returns the finished entry of the result file
   */
  finish(
    head: Pick<
      ExperimentResult,
      "name" | "title" | "question" | "failed" | "durationMs" | "loadBefore"
    >,
  ): ExperimentResult {
    return {
      ...head,
      parameters: this.#parameters,
      series: this.series(),
      skipped: this.#skipped,
      notes: this.#notes,
    };
  }
}
