/** Runs one lane and judges it: counts, skips, silence, time and leftovers. */

import { existsSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { readFailures } from "./failures.ts";
import { isDebianRoot } from "./host-packages.ts";
import { type Lane, TEST_TIMEOUT_MS } from "./lanes.ts";
import { prepareGround } from "./leftovers.ts";
import { runVmLane } from "../vm/run.ts";
import { runGroup } from "./process-group.ts";
import { runStyleTools } from "./style-lane.ts";
import {
  addTallies,
  EMPTY_TALLY,
  formatTally,
  readSummary,
  type LaneOutcome,
  type LaneRun,
  type Tally,
} from "./tally.ts";

/** Whether any of the lane's directories holds a test. */
function hasTests({ dirs }: Lane): boolean {
  return dirs
    .map((dir) => join(PROJECT_DIR, "tests", dir))
    .filter((dir) => existsSync(dir))
    .some((dir) => !new Bun.Glob("**/*.test.ts").scanSync(dir).next().done);
}

/**
 * What is wrong with a finished run beyond failed tests.
 * @param mustRunAll whether this machine has everything, so that a skip is a hole
 */
function complaints(tally: Tally | null, problem: string | null, mustRunAll: boolean): string[] {
  const found = problem === null ? [] : [problem];
  if (mustRunAll && tally !== null && tally.skipped > 0) {
    found.push(`${tally.skipped} skipped tests on a machine that has everything`);
  }
  return found;
}

/** Runs `bun test` over the lane's directories. */
async function runBunTest(lane: Lane, timeoutMs: number, laneTempDir: string): Promise<LaneRun> {
  const dirs = lane.dirs.map((dir) => `./tests/${dir}/`);
  const result = await runGroup({
    argv: [process.execPath, "test", "--timeout", String(TEST_TIMEOUT_MS), ...dirs],
    cwd: PROJECT_DIR,
    env: { TMPDIR: laneTempDir },
    timeoutMs,
  });
  const { tally, problem } = readSummary(result.stderr, result.exitCode);
  const wrong = complaints(tally, problem, isDebianRoot());
  if (result.timedOut) wrong.push(`ended after ${timeoutMs / 1000} s`);
  return { tally: tally ?? EMPTY_TALLY, wrong, failures: readFailures(result.stderr) };
}

/** Boots the VM, which judges its suites itself. */
async function runVm(timeoutMs: number): Promise<LaneRun> {
  if (isDebianRoot()) return await runVmLane(timeoutMs);
  process.stdout.write("skipped: the VM is built by root on Debian\n");
  return { tally: { ...EMPTY_TALLY, skipped: 1 }, wrong: [], failures: [] };
}

/** Runs the lane's command and looks for what it left behind. */
async function runTests(lane: Lane, timeoutMs: number): Promise<LaneOutcome> {
  const ground = prepareGround();
  const { tally, wrong, failures } =
    lane.name === "vm" ? await runVm(timeoutMs) : await runBunTest(lane, timeoutMs, ground.tempDir);
  const left = await ground.leftovers();
  const all = left.length > 0 ? [...wrong, `left behind:\n    ${left.join("\n    ")}`] : wrong;
  const lines = all.map((line) => `(fail) lane ${lane.name}: ${line}`);
  for (const line of lines) process.stdout.write(`${line}\n`);
  return {
    tally: addTallies(tally, { ...EMPTY_TALLY, failed: all.length }),
    failures: [...failures, ...lines],
  };
}

/**
 * Runs a lane.
 * @param lane which
 * @param timeoutMs milliseconds that are left for it
 * @returns its counts and failures; everything wrong with the lane as a whole counts as one failed test each
 */
export async function runLane(lane: Lane, timeoutMs: number): Promise<LaneOutcome> {
  const startedMs = performance.now();
  process.stdout.write(`\n== ${lane.name}\n`);
  const nothing: LaneOutcome = { tally: EMPTY_TALLY, failures: [] };
  const tools = lane.name === "style" ? await runStyleTools(timeoutMs) : nothing;
  if (!hasTests(lane)) {
    process.stdout.write(`no tests yet in tests/${lane.dirs.join(", tests/")}\n`);
    return tools;
  }
  const tests = await runTests(lane, timeoutMs);
  const tally = addTallies(tools.tally, tests.tally);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(`== ${lane.name}: ${formatTally(tally)} in ${seconds} s\n`);
  return { tally, failures: [...tools.failures, ...tests.failures] };
}
