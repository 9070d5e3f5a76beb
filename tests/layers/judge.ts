/** Whether a run of tests shows that a layer is watched. What cannot be believed counts as not noticed. */

import type { GroupResult } from "../lanes/process-group.ts";
import { readSummary } from "../lanes/tally.ts";
import type { Layer } from "./layer.ts";

/**
 * @param result of running tests without any edit
 * @param count how many tests were to run
 * @returns what is wrong, or null where all ran and passed
 */
export function problemOfSource(result: GroupResult, count: number): string | null {
  const { tally, problem } = readSummary(result.stderr, result.exitCode);
  if (problem !== null) return problem;
  if (tally?.passed === count && tally.failed === 0 && tally.skipped === 0) return null;
  return `${count} tests were to pass: ${JSON.stringify(tally)}`;
}

/**
 * @param layer that was switched off
 * @param result of running its test
 * @returns why that shows that nobody noticed, or null where the test failed in the expected words
 */
export function problemOfLayer({ test, says }: Layer, result: GroupResult): string | null {
  const { tally, problem } = readSummary(result.stderr, result.exitCode);
  if (result.timedOut) return "the test did not end";
  if (tally === null || tally.failed === 0) return problem ?? "the test passed, or was not run";
  if (`${result.stdout}${result.stderr}`.includes(says)) return null;
  return `"${test.name}" failed, but did not say: ${says}`;
}
