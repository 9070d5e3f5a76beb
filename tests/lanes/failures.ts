/**
 * What failed, told once more at the end of a run: between a failure and the last line stand thousands
 * of lines, and a log is often kept by its end alone.
 */

import { plainText } from "./tally.ts";

/** Lines of a failure that are told again: the message and where it was thrown. */
const EXCERPT_LINES_MAX = 16;

const FAILED = /^\(fail\) /;
const ENDS_EXCERPT = /^\((?:pass|fail|skip|todo)\) |^\S+\.test\.ts:$/;
/** A line of the program beside an error, or the mark below it: the place says the same in one line. */
const PROGRAM_TEXT = /^ *\d+ \| |^ +\^$/;

/**
 * @param output what `bun test`, or the console of the VM, printed
 * @returns for each failed test its last lines, the one with its name at the end
 */
export function readFailures(output: string): string[] {
  const found = new Map<string, string>();
  let excerpt: string[] = [];
  for (const raw of plainText(output).split("\n")) {
    const line = raw.trimEnd();
    // At its end `bun test` repeats the lines of what failed, durations included.
    if (FAILED.test(line) && !found.has(line)) {
      found.set(line, [...excerpt.slice(-EXCERPT_LINES_MAX), line].join("\n"));
    }
    if (ENDS_EXCERPT.test(line)) excerpt = [];
    else if (line !== "" && !PROGRAM_TEXT.test(line)) excerpt.push(line);
  }
  return [...found.values()];
}

/**
 * @param lane whose failures these are
 * @param failures as from {@link readFailures}
 * @returns text for the end of a run, empty where nothing failed
 */
export function formatFailures(lane: string, failures: readonly string[]): string {
  return failures.map((failure) => `\n-- ${lane}\n${failure}\n`).join("");
}
