/**
 * `npm test`: all lanes, or those named as arguments, one after the other. Ends with a line
 * `N passed, N failed` (and `, N skipped`) and exits with 0 only where nothing failed.
 */

import { join } from "node:path";

import { PROJECT_DIR } from "./helpers/paths.ts";
import { formatFailures } from "./lanes/failures.ts";
import { ensureHostPackages, isDebianRoot } from "./lanes/host-packages.ts";
import { ALL_LANES_TIMEOUT_MS, type Lane, LANES } from "./lanes/lanes.ts";
import { killGroups, runGroup } from "./lanes/process-group.ts";
import { runLane } from "./lanes/run-lane.ts";
import { addTallies, EMPTY_TALLY, formatTally, ONE_FAILURE, type Tally } from "./lanes/tally.ts";

/** A lane that starts when the time is up still gets this long, to fail by itself. */
const LANE_TIMEOUT_MIN_MS = 1_000;

const BUILD_TIMEOUT_MS = 120_000;

/** The lanes to run; ends the program with status 2 where an argument names none. */
function chosenLanes(names: readonly string[]): Lane[] {
  const unknown = names.find((name) => !LANES.some((lane) => lane.name === name));
  if (unknown !== undefined) {
    const known = LANES.map(({ name }) => name).join(", ");
    process.stderr.write(`Cannot run the lane "${unknown}": there are ${known}\n`);
    process.exit(2);
  }
  return LANES.filter(({ name, onlyNamed }) =>
    names.length === 0 ? !onlyNamed : names.includes(name),
  );
}

/** Brings the machine and the executable into the state that privileged lanes rely on. */
async function prepare(): Promise<Tally> {
  const missing = ensureHostPackages();
  if (missing.length > 0) {
    process.stdout.write(`This machine lacks ${missing.join(", ")}: tests that need them skip\n`);
    // As root on Debian they could have been installed: that they were not is a failure.
    if (isDebianRoot()) return ONE_FAILURE;
  }
  const argv = [process.execPath, join(PROJECT_DIR, ".ci/build.ts")];
  const build = await runGroup({ argv, cwd: PROJECT_DIR, timeoutMs: BUILD_TIMEOUT_MS });
  return build.exitCode === 0 ? EMPTY_TALLY : ONE_FAILURE;
}

/** What failed so far, in words; the last lines of a run tell it. */
let failed = "";

async function main(): Promise<Tally> {
  const lanes = chosenLanes(process.argv.slice(2));
  const deadlineMs = performance.now() + ALL_LANES_TIMEOUT_MS;
  let tally = EMPTY_TALLY;
  if (lanes.some(({ privileged }) => privileged)) tally = await prepare();
  for (const lane of lanes) {
    const leftMs = Math.max(deadlineMs - performance.now(), LANE_TIMEOUT_MIN_MS);
    const outcome = await runLane(lane, Math.min(lane.timeoutMs, leftMs));
    tally = addTallies(tally, outcome.tally);
    failed += formatFailures(lane.name, outcome.failures);
  }
  return tally;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    killGroups();
    process.exit(1);
  });
}

let tally = ONE_FAILURE;
try {
  tally = await main();
} catch (error) {
  failed += `\nThe test runner broke: ${Bun.inspect(error)}\n`;
}
process.stdout.write(`${failed}\n${formatTally(tally)}\n`);
process.exitCode = tally.failed === 0 && tally.passed > 0 ? 0 : 1;
