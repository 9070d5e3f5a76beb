/**
 * The VM lane: builds the machine where it is missing, boots it without KVM, runs the suites in it
 * and reads the console. `bun tests/vm/run.ts [SUITE…]` runs it, or a part of it, alone; with `--all`, every
 * privileged test file that can run there is a suite, and none has to be quick.
 */

import { parseArgs } from "node:util";

import { tempDir } from "../helpers/temp-dir.ts";
import { killGroups, runGroup } from "../lanes/process-group.ts";
import { formatFailures } from "../lanes/failures.ts";
import { addTallies, EMPTY_TALLY, formatTally, type LaneRun } from "../lanes/tally.ts";
import { readConsole } from "./console.ts";
import { makeProjectImage } from "./project-image.ts";
import { ensureRootImage, type RootImage } from "./root-image.ts";
import { everySuite, VM_SUITES, type VmSuite } from "./suites.ts";

/** Bound for a run of this file alone; in `npm test` the lane's time applies. */
const ALONE_TIMEOUT_MS = 900_000;

/** The same with `--all`, which takes as long as it takes. */
const ALL_TIMEOUT_MS = 3 * 3_600_000;

const MEMORY_MB = 2048;

/** With `--all`: a thousand sandboxes at once, and answers of a gigabyte. */
const ALL_MEMORY_MB = 6144;

/**
 * Without mitigations of processor faults suites take a sixth less, and no result depends on them.
 * Only errors that end the machine: messages about killed processes would mingle with test output.
 * Linux distrusts an emulated time stamp counter, and every look at the clock that it would take
 * instead is an exit of the VM.
 */
const KERNEL_COMMAND_LINE =
  "console=ttyS0 root=/dev/nvme0n1 rw init=/lib/systemd/systemd systemd.unit=lane.target " +
  "mitigations=off systemd.show_status=0 systemd.log_level=err loglevel=2 panic=-1 cgroup_no_v1=all tsc=reliable";

/** A drive as a snapshot: writes go to a temporary file, so the cached image stays as it is. */
function drive(file: string, index: number): string[] {
  const options = `file=${file},if=none,id=d${index},format=raw,snapshot=on,cache=unsafe`;
  return ["-drive", options, "-device", `nvme,drive=d${index},serial=${index}`];
}

/** Emulated without KVM, which test machines rarely have; NVMe and ext4 are built into the kernel. */
function qemuArguments(
  { kernelPath, imagePath }: RootImage,
  projectImage: string,
  memoryMb: number,
): string[] {
  const machine = ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", `${memoryMb}`];
  const kernel = ["-kernel", kernelPath, "-append", KERNEL_COMMAND_LINE];
  const drives = [...drive(imagePath, 0), ...drive(projectImage, 1)];
  const console = ["-display", "none", "-monitor", "none", "-serial", "stdio"];
  return [
    "qemu-system-x86_64",
    ...machine,
    ...kernel,
    ...drives,
    ...console,
    "-nic",
    "none",
    "-no-reboot",
  ];
}

/** Says how long a step took; the lane has a time limit, so its parts should be known. */
function timed<T>(what: string, step: () => T): T {
  const startedMs = performance.now();
  const result = step();
  process.stdout.write(`${what}: ${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`);
  return result;
}

/**
 * Runs suites in the VM.
 * @param timeoutMs milliseconds for everything, building included
 * @param suites what to run, default what fits into the lane's time
 * @param memoryMb what the machine has
 * @returns what the suites counted, everything else that is wrong, and what failed tests said
 */
export async function runVmLane(
  timeoutMs: number,
  suites: readonly VmSuite[] = VM_SUITES,
  memoryMb: number = MEMORY_MB,
): Promise<LaneRun> {
  const deadlineMs = performance.now() + timeoutMs;
  using work = tempDir("ol-vm-");
  const root = timed("root image", ensureRootImage);
  const projectImage = timed("project image", () => makeProjectImage(suites, work.path));
  const result = await runGroup({
    argv: qemuArguments(root, projectImage, memoryMb),
    cwd: work.path,
    env: { TMPDIR: work.path },
    timeoutMs: Math.max(deadlineMs - performance.now(), 1),
  });
  const { tally, problems, failures, bootSec } = readConsole(result.stdout, suites);
  process.stdout.write(`boot: ${bootSec ?? "never"} s\n`);
  const wrong = result.timedOut ? [...problems, "the machine ran out of time"] : problems;
  return { tally, wrong, failures };
}

/** Those named, in that order; ends the program with status 2 where a name is of none. */
function chosenSuites(suites: readonly VmSuite[], names: readonly string[]): readonly VmSuite[] {
  const unknown = names.find((wanted) => !suites.some(({ name }) => name === wanted));
  if (unknown !== undefined) {
    const known = suites.map(({ name }) => name).join(", ");
    process.stderr.write(`Cannot run the suite "${unknown}": there are ${known}\n`);
    process.exit(2);
  }
  if (names.length === 0) return suites;
  return names.flatMap((wanted) => suites.filter(({ name }) => name === wanted));
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      killGroups();
      process.exit(1);
    });
  }
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2),
    allowPositionals: true,
    options: { all: { type: "boolean", default: false } },
  });
  const { tally, wrong, failures } = values.all
    ? await runVmLane(ALL_TIMEOUT_MS, chosenSuites(everySuite(), positionals), ALL_MEMORY_MB)
    : await runVmLane(ALONE_TIMEOUT_MS, chosenSuites(VM_SUITES, positionals));
  const all = addTallies(tally, { ...EMPTY_TALLY, failed: wrong.length });
  process.stdout.write(`${formatFailures("vm", [...failures, ...wrong])}\n${formatTally(all)}\n`);
  process.exitCode = all.failed === 0 && all.passed > 0 ? 0 : 1;
}
