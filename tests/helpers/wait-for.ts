/** Waiting for a condition, the only way in which tests wait for anything. */

const DEFAULT_TIMEOUT_MS = 10_000;

/** How many times slower than usual this machine is: an emulated one sets it. */
export const SLOWDOWN = Number(process.env["OL_TEST_SLOWDOWN"] ?? "1");

/**
 * @param ms milliseconds that are plenty on an ordinary machine
 * @returns how many are on this one
 */
export const scaled = (ms: number): number => ms * SLOWDOWN;

const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * Asks again and again, with growing pauses, until the answer is neither null, undefined nor false.
 * @param condition what to ask; what it throws passes through
 * @param what the awaited state in words, for the error
 * @param timeoutMs milliseconds until it gives up, default 10 s; longer on an emulated machine
 * @returns the answer
 * @throws {Error} after the timeout
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  what: string,
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
): Promise<NonNullable<T>> {
  const deadlineMs = performance.now() + scaled(timeoutMs);
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    const answer = await condition();
    if (answer !== null && answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadlineMs) {
      throw new Error(`Waited ${timeoutMs} ms in vain until ${what}`);
    }
    await Bun.sleep(pauseMs);
  }
}
