/** The tools of the style lane, each of which counts as one test. */

import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { runGroup } from "./process-group.ts";
import { addTallies, EMPTY_TALLY, ONE_FAILURE, type Tally } from "./tally.ts";

const TOOLS: readonly (readonly [tool: string, ...args: string[]])[] = [
  ["oxfmt", "--check"],
  ["oxlint"],
  ["tsc", "-p", "."],
  ["knip", "--no-progress"],
];

/**
 * Runs formatter, linter, type check and dead-code check.
 * @param timeoutMs milliseconds for each
 * @returns one test per tool
 */
export async function runStyleTools(timeoutMs: number): Promise<Tally> {
  let tally = EMPTY_TALLY;
  for (const [tool, ...args] of TOOLS) {
    const argv = [join(PROJECT_DIR, "node_modules/.bin", tool), ...args];
    const result = await runGroup({ argv, cwd: PROJECT_DIR, timeoutMs });
    const passed = result.exitCode === 0;
    process.stdout.write(`(${passed ? "pass" : "fail"}) ${[tool, ...args].join(" ")}\n`);
    tally = addTallies(tally, passed ? { ...EMPTY_TALLY, passed: 1 } : ONE_FAILURE);
  }
  return tally;
}
