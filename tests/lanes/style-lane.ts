/** The tools of the style lane, each of which counts as one test. */

import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { runGroup } from "./process-group.ts";
import { addTallies, EMPTY_TALLY, type LaneOutcome, ONE_FAILURE } from "./tally.ts";

const TOOLS: readonly (readonly [tool: string, ...args: string[]])[] = [
  ["oxfmt", "--check"],
  ["oxlint"],
  ["tsc", "-p", "."],
  ["knip", "--no-progress"],
];

/**
 * Runs formatter, linter, type check and dead-code check.
 * @param timeoutMs milliseconds for each
 * @returns one test per tool, and those that failed
 */
export async function runStyleTools(timeoutMs: number): Promise<LaneOutcome> {
  let tally = EMPTY_TALLY;
  const failures: string[] = [];
  for (const [tool, ...args] of TOOLS) {
    const argv = [join(PROJECT_DIR, "node_modules/.bin", tool), ...args];
    const result = await runGroup({ argv, cwd: PROJECT_DIR, timeoutMs });
    const passed = result.exitCode === 0;
    const line = `(${passed ? "pass" : "fail"}) ${[tool, ...args].join(" ")}`;
    process.stdout.write(`${line}\n`);
    if (!passed) failures.push(line);
    tally = addTallies(tally, passed ? { ...EMPTY_TALLY, passed: 1 } : ONE_FAILURE);
  }
  return { tally, failures };
}
