/**
 * The VM lane: builds the machine where it is missing, boots it without KVM, runs the suites in it
 * and reads the console. `bun tests/vm/run.ts [SUITE…]` runs it, or a part of it, alone.
 */

import { tempDir } from "../helpers/temp-dir.ts";
import { killGroups, runGroup } from "../lanes/process-group.ts";
import { addTallies, EMPTY_TALLY, formatTally, type Tally } from "../lanes/tally.ts";
import { readConsole } from "./console.ts";
import { existingSuites, makeProjectImage } from "./project-image.ts";
import { ensureRootImage, type RootImage } from "./root-image.ts";
import { VM_SUITES } from "./suites.ts";

/** Bound for a run of this file alone; in `npm test` the lane's time applies. */
const ALONE_TIMEOUT_MS = 600_000;

const MEMORY_MB = 2048;

/**
 * Only errors that end the machine: messages about killed processes would mingle with test output.
 * Linux distrusts an emulated time stamp counter, and every look at the clock that it would take
 * instead is an exit of the VM.
 */
const KERNEL_COMMAND_LINE =
  "console=ttyS0 root=/dev/nvme0n1 rw init=/lib/systemd/systemd systemd.unit=lane.target " +
  "systemd.show_status=0 systemd.log_level=err loglevel=2 panic=-1 cgroup_no_v1=all tsc=reliable";

/** A drive as a snapshot: writes go to a temporary file, so the cached image stays as it is. */
function drive(file: string, index: number): string[] {
  const options = `file=${file},if=none,id=d${index},format=raw,snapshot=on,cache=unsafe`;
  return ["-drive", options, "-device", `nvme,drive=d${index},serial=${index}`];
}

/** Emulated without KVM, which test machines rarely have; NVMe and ext4 are built into the kernel. */
function qemuArguments({ kernelPath, imagePath }: RootImage, projectImage: string): string[] {
  const machine = ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", `${MEMORY_MB}`];
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
 * Runs the suites in the VM.
 * @param timeoutMs milliseconds for everything, building included
 * @param names suites to run, default all
 * @returns their counts; everything else that is wrong counts as one failed test each
 */
export async function runVmLane(timeoutMs: number, names: readonly string[] = []): Promise<Tally> {
  const deadlineMs = performance.now() + timeoutMs;
  const suites = existingSuites(VM_SUITES).filter(
    ({ name }) => names.length === 0 || names.includes(name),
  );
  using work = tempDir("ol-vm-");
  const root = timed("root image", ensureRootImage);
  const projectImage = timed("project image", () => makeProjectImage(suites, work.path));
  const result = await runGroup({
    argv: qemuArguments(root, projectImage),
    cwd: work.path,
    env: { TMPDIR: work.path },
    timeoutMs: Math.max(deadlineMs - performance.now(), 1),
  });
  const { tally, problems, bootSec } = readConsole(result.stdout, suites);
  process.stdout.write(`boot: ${bootSec ?? "never"} s\n`);
  const wrong = result.timedOut ? [...problems, "the machine ran out of time"] : problems;
  for (const line of wrong) process.stdout.write(`(fail) lane vm: ${line}\n`);
  return addTallies(tally, { ...EMPTY_TALLY, failed: wrong.length });
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      killGroups();
      process.exit(1);
    });
  }
  const tally = await runVmLane(ALONE_TIMEOUT_MS, process.argv.slice(2));
  process.stdout.write(`${formatTally(tally)}\n`);
  process.exitCode = tally.failed === 0 && tally.passed > 0 ? 0 : 1;
}
