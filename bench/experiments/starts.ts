/** How calls started, read of each answer's `x-ol-start`: the one place where bursts are checked for it. */

import type { BenchContext } from "../harness/experiment.ts";
import type { LoadRequest } from "../load/load-process.ts";
import type { LoadResult } from "../load/plan.ts";

/** Starts of a call that found no sandbox, whether the parent of the new one had packages or not. */
export const COLD = ["fresh", "zygote"] as const;

/** What an arm is about. */
export interface WantedStart {
  /** Of the arm, for notes. */
  readonly id: string;
  /** Values of `x-ol-start` that belong to it. */
  readonly accepted: readonly string[];
}

/** A burst, and which of its calls count. */
export interface StartedCalls {
  readonly result: LoadResult;
  /** Positions of calls that started as they should. */
  readonly matching: readonly number[];
  /** Latencies of those, in the order of answers. */
  readonly latencyUs: readonly number[];
  /** Those per second of the burst. */
  readonly ratePerS: number;
}

/**
 * @param context of the experiment
 * @param wanted what the arm is about
 * @param result of a burst that recorded starts
 * @returns positions of the calls that belong to the arm; the others are left out and noted
 */
export function matchStarts(
  context: BenchContext,
  wanted: WantedStart,
  result: LoadResult,
): number[] {
  const { id, accepted } = wanted;
  const counts = new Map<string, number>();
  const matching: number[] = [];
  for (const [i, start] of result.start.entries()) {
    counts.set(start, (counts.get(start) ?? 0) + 1);
    if (accepted.includes(start)) matching.push(i);
  }
  const others = [...counts.keys()].filter((start) => !accepted.includes(start));
  for (const start of others) {
    context.recorder.note(`arm "${id}" also saw calls that started "${start}"; left out`);
  }
  context.recorder.parameter(`x-ol-start of ${id}`, [...counts.keys()].toSorted().join(", "));
  if (matching.length === 0) context.recorder.skip(`"${id}": no call started so`);
  return matching;
}

/**
 * Sends a burst to a worker and keeps the calls that started as they should.
 * @param context of the experiment
 * @param wanted what the arm is about
 * @param request the burst
 * @returns the calls that count
 */
export async function runStarting(
  context: BenchContext,
  wanted: WantedStart,
  request: LoadRequest,
): Promise<StartedCalls> {
  const result = await context.load.run({ ...request, starts: true });
  const matching = matchStarts(context, wanted, result);
  return {
    result,
    matching,
    latencyUs: matching.map((i) => result.latencyUs[i] as number),
    ratePerS: (matching.length * 1e6) / result.elapsedUs,
  };
}

/**
 * Sends a burst in which every start belongs to the answer (what callers see, what a cache gives) and records
 * how many calls started how.
 * @param context of the experiment
 * @param id of the arm
 * @param request the burst
 * @returns the burst, whole
 */
export async function runCounting(
  context: BenchContext,
  id: string,
  request: LoadRequest,
): Promise<LoadResult> {
  const result = await context.load.run({ ...request, starts: true });
  const counts = new Map<string, number>();
  for (const start of result.start) counts.set(start, (counts.get(start) ?? 0) + 1);
  const shares = [...counts]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([start, count]) => `${start} ${((count * 100) / result.start.length).toFixed(1)} %`);
  context.recorder.parameter(`x-ol-start of ${id}, last round`, shares.join(", "));
  return result;
}
