/** What other code does to memory while a probe looks whether its own stays where it was. */

/** Enough for every function in the loop to be compiled, several times over. */
export const ROUNDS = 200_000;

const COLLECT_EVERY = 20_000;

/**
 * Makes garbage, and has it collected now and then.
 * @param round number of the loop's round
 * @returns the garbage
 */
export function disturb(round: number): unknown {
  if (round % COLLECT_EVERY === 0) Bun.gc(true);
  return [new Uint8Array(round % 64), { round }, `text ${round}`];
}
