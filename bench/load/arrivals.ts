/** Intended start times of an open loop. */

import type { Random } from "../stats/random.ts";

/**
 * @param kind evenly spaced, or with exponential gaps as independent callers make
 * @param ratePerS mean calls per second
 * @param random source of the gaps
 * @returns a function that yields the next start in microseconds after the first
 */
export function schedule(
  kind: "constant" | "poisson",
  ratePerS: number,
  random: Random,
): () => number {
  const gapUs = 1e6 / ratePerS;
  let index = 0;
  let atUs = 0;
  return () => {
    if (kind === "constant") return gapUs * index++;
    const now = atUs;
    atUs += random.exponential(gapUs);
    return now;
  };
}
