/** Counts of passed, failed and skipped tests, and how to read them from what `bun test` prints. */

/** How many tests of a lane ended how. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** What a lane's own command found out. */
export interface LaneRun {
  readonly tally: Tally;
  /** Everything wrong with the lane as a whole, one line each. */
  readonly wrong: readonly string[];
  /** What the failed tests said. */
  readonly failures: readonly string[];
}

/** How a lane ended. */
export interface LaneOutcome {
  readonly tally: Tally;
  /** What the failed tests said, and what is wrong with the lane as a whole. */
  readonly failures: readonly string[];
}

/** Nothing ran. */
export const EMPTY_TALLY: Tally = { passed: 0, failed: 0, skipped: 0 };

/** One thing that is wrong with a whole lane counts as one failed test. */
export const ONE_FAILURE: Tally = { passed: 0, failed: 1, skipped: 0 };

/**
 * @param tallies counts to add up
 * @returns their sum
 */
export function addTallies(...tallies: readonly Tally[]): Tally {
  return tallies.reduce(
    (sum, { passed, failed, skipped }) => ({
      passed: sum.passed + passed,
      failed: sum.failed + failed,
      skipped: sum.skipped + skipped,
    }),
    EMPTY_TALLY,
  );
}

/**
 * @param tally counts
 * @returns `N passed, N failed`, and `, N skipped` where there are any
 */
export function formatTally({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** What the summary of `bun test` says, or why it cannot be believed. */
export type Reading =
  | { readonly tally: Tally; readonly problem: null }
  | { readonly tally: Tally | null; readonly problem: string };

// eslint-disable-next-line no-control-regex -- colours are control characters
const COLOURS = /\u001B\[[0-9;]*m/g;

/**
 * @param output of a terminal
 * @returns it without colours and carriage returns
 */
export function plainText(output: string): string {
  return output.replaceAll(COLOURS, "").replaceAll("\r", "");
}

/** Last count of a word in the summary; bun leaves lines out whose count is zero. */
function count(summary: string, word: string): number {
  const found = [...summary.matchAll(new RegExp(`^ *(\\d+) ${word}s?$`, "gm"))].at(-1);
  return found === undefined ? 0 : Number(found[1]);
}

/**
 * Reads the summary at the end of what `bun test` writes to stderr. The exit status alone proves
 * nothing: a test that calls `process.exit(0)` ends the run with status 0 and no summary.
 * @param output all of stderr
 * @param exitCode exit status of `bun test`, null where a signal ended it
 * @returns the counts (todo counts as skipped, an error outside of tests as failed)
 */
export function readSummary(output: string, exitCode: number | null): Reading {
  const plain = plainText(output);
  const ran = [...plain.matchAll(/^Ran (\d+) tests? across (\d+) files?\./gm)].at(-1);
  if (ran === undefined) {
    return { tally: null, problem: `no summary, exit status ${exitCode ?? "by signal"}` };
  }
  // Tests may themselves print a summary of an inner run: only the block before the last line counts.
  const before = plain.slice(0, ran.index).split("\n").slice(-9).join("\n");
  const [passed, failed] = [count(before, "pass"), count(before, "fail")];
  const skipped = count(before, "skip") + count(before, "todo");
  const tally = { passed, failed: failed + count(before, "error"), skipped };
  const total = passed + failed + skipped;
  if (total !== Number(ran[1])) {
    return { tally, problem: `the summary counts ${total} tests, but ${ran[1]} ran` };
  }
  if (total === 0) return { tally, problem: "no test ran" };
  if ((exitCode === 0) !== (tally.failed === 0)) {
    return { tally, problem: `exit status ${exitCode ?? "by signal"} with ${failed} failed tests` };
  }
  return { tally, problem: null };
}
