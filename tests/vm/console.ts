/** What the VM writes to its serial console, taken apart at the markers of `run-suites.sh`. */

import { readFailures } from "../lanes/failures.ts";
import { addTallies, EMPTY_TALLY, readSummary, type Tally } from "../lanes/tally.ts";
import type { VmSuite } from "./suites.ts";

/** What the console says. */
export interface ConsoleReading {
  readonly tally: Tally;
  /** Everything that is wrong beyond failed tests, one line each. */
  readonly problems: readonly string[];
  /** What the failed tests said. */
  readonly failures: readonly string[];
  /** Seconds from power-on to the first suite, null when it did not get there. */
  readonly bootSec: number | null;
}

/** Text and exit status of one suite, or null where its markers are not both there. */
function suiteOutput(text: string, name: string): { output: string; exitCode: number } | null {
  const begin = text.indexOf(`@@vm begin ${name}\n`);
  const end = new RegExp(`^@@vm end ${name} (\\d+) `, "m").exec(text);
  if (begin < 0 || end === null) return null;
  return { output: text.slice(begin, end.index), exitCode: Number(end[1]) };
}

/**
 * @param raw everything from the console
 * @param suites what the VM had to run
 * @returns counts and complaints; a suite that left no trace, a skip and a missing end are complaints
 */
export function readConsole(raw: string, suites: readonly VmSuite[]): ConsoleReading {
  const text = raw.replaceAll("\r", "");
  const problems: string[] = [];
  const failures: string[] = [];
  let tally = EMPTY_TALLY;
  for (const { name } of suites) {
    const found = suiteOutput(text, name);
    if (found === null) {
      problems.push(`suite ${name} did not end`);
      continue;
    }
    failures.push(...readFailures(found.output));
    const { tally: counted, problem } = readSummary(found.output, found.exitCode);
    if (problem !== null) problems.push(`suite ${name}: ${problem}`);
    if (counted === null) continue;
    tally = addTallies(tally, counted);
    if (counted.skipped > 0) problems.push(`suite ${name}: ${counted.skipped} skipped tests`);
  }
  if (!text.includes("@@vm done\n")) problems.push("the machine did not come to its end");
  const boot = /^@@vm boot ([\d.]+)$/m.exec(text)?.[1];
  return { tally, problems, failures, bootSec: boot === undefined ? null : Number(boot) };
}
