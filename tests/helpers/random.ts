/** Randomness that can be replayed: every run prints its seed, `OL_TEST_SEED` brings it back. */

import { writeSync } from "node:fs";

/** A sequence of numbers that follows from its seed alone. */
export interface Random {
  readonly seed: number;
  /** @returns a whole number from `min` to `max`, both included */
  between(min: number, max: number): number;
  /** @returns one of the values */
  pick<T>(values: readonly T[]): T;
  /** @returns whether something with this probability (0 to 1) happens now */
  chance(probability: number): boolean;
}

/**
 * @param what names the run in the line that tells the seed
 * @param seed default: `OL_TEST_SEED`, else a fresh one
 * @returns the sequence
 */
export function seededRandom(what: string, seed?: number): Random {
  const given = process.env["OL_TEST_SEED"];
  const start = seed ?? (given === undefined ? Math.trunc(Math.random() * 2 ** 31) : Number(given));
  // Not process.stderr: that opens a descriptor, which would look like a leak.
  writeSync(2, `${what}: OL_TEST_SEED=${start}\n`);
  let state = start >>> 0;
  // Mulberry32: 32 bits of state are plenty for choosing faults.
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (min: number, max: number): number => min + Math.trunc(next() * (max - min + 1));
  return {
    seed: start,
    between,
    pick: (values) => {
      const value = values[between(0, values.length - 1)];
      if (value === undefined) throw new Error("nothing to pick from");
      return value;
    },
    chance: (probability) => next() < probability,
  };
}
