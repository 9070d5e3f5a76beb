/** One cgroup over all hierarchies that are needed. */

import { OlError, errnoNameOf } from "../common/errors.ts";
import {
  CGROUP_EMPTY_HINT_WAIT_MS,
  CGROUP_EMPTY_POLL_MAX_MS,
  CGROUP_EMPTY_POLL_MIN_MS,
  DESTROY_TIMEOUT_MS,
  SYSCALL_RETRIES_MAX,
} from "../common/limits.ts";
import type { Cgroup, CgroupLimits, CgroupUsage } from "./contract.ts";
import type { CgroupIo } from "./io.ts";
import { CpuKnob, MemoryKnob, PidsKnob, type Seat, cpuTimeUs } from "./knobs.ts";
import { Stopper, readPids } from "./stopper.ts";

/** Which hierarchy serves what, below the worker's root; seats are directories of the root. */
export interface Layout {
  /** Freezes and kills; also the first of `seats`. */
  readonly main: Seat;
  readonly memory: Seat;
  readonly cpu: Seat;
  readonly pids: Seat;
  readonly cpuTime: Seat | undefined;
  /** Every hierarchy once. */
  readonly seats: readonly Seat[];
  /** Whether `cgroup.kill` exists. */
  readonly hasKill: boolean;
}

/** Waits `ms` without blocking the thread. */
const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/**
 * Calls `done` with growing pauses until it says yes.
 * @returns whether it did within `timeoutMs`
 */
async function poll(done: () => boolean, timeoutMs: number): Promise<boolean> {
  let pauseMs = CGROUP_EMPTY_POLL_MIN_MS;
  for (let waitedMs = 0; ; waitedMs += pauseMs) {
    if (done()) return true;
    if (waitedMs >= timeoutMs) return false;
    await sleep(pauseMs);
    pauseMs = Math.min(pauseMs * 2, CGROUP_EMPTY_POLL_MAX_MS);
  }
}

/**
 * Removes one directory; true when it is gone, false when something is still in it.
 * @throws {SyscallError} syscall, for any other failure
 */
function tryRemoveDir(io: CgroupIo, dir: string): boolean {
  try {
    io.removeDir(dir);
    return true;
  } catch (error) {
    const name = errnoNameOf(error);
    if (name === "ENOENT") return true;
    if (name === "EBUSY" || name === "ENOTEMPTY") return false;
    throw error;
  }
}

/**
 * Removes directories, waiting for what is dying inside.
 *
 * @param io operations
 * @param dirs a cgroup's directory in each hierarchy
 * @throws {OlError} internal when one is still in use after `DESTROY_TIMEOUT_MS`; a SyscallError
 *   where the kernel refuses it again and again
 */
export async function removeDirs(io: CgroupIo, dirs: readonly string[]): Promise<void> {
  let left = [...dirs];
  let refusals = 0;
  const gone = await poll(() => {
    try {
      left = left.filter((dir) => !tryRemoveDir(io, dir));
    } catch (error) {
      // A host that is short of something is asked again: a directory left behind is never looked
      // at until the worker starts anew.
      refusals += 1;
      if (refusals >= SYSCALL_RETRIES_MAX) throw error;
    }
    return left.length === 0;
  }, DESTROY_TIMEOUT_MS);
  if (gone) return;
  const pids = left.flatMap((dir) => readPids(io, dir));
  throw new OlError(
    "internal",
    `Cannot remove cgroup ${JSON.stringify(left[0])}: it still holds ${pids.length} processes or a ` +
      `child cgroup after ${DESTROY_TIMEOUT_MS} ms`,
    { op: "cgroup.remove", details: { left, pids } },
  );
}

/**
 * Version 1 can move one thread, and a thread that moves itself takes no lock that stops the machine's
 * forks; a process that moves waits for an RCU grace period in one of a hundred cases, 15 ms.
 */
function joinPath({ kind, dir }: Seat): string {
  return `${dir}/${kind === "v1" ? "tasks" : "cgroup.procs"}`;
}

/** The one implementation of `Cgroup`; what differs between versions is in the knobs and the stopper. */
export class KernelCgroup implements Cgroup {
  readonly name: string;
  readonly joinPaths: readonly string[];
  readonly #io: CgroupIo;
  readonly #dirs: readonly string[];
  readonly #memory: MemoryKnob;
  readonly #cpu: CpuKnob;
  readonly #pids: PidsKnob;
  readonly #stopper: Stopper;
  readonly #cpuTime: Seat | undefined;
  readonly #main: Seat;
  #joinFds: readonly number[] = [];
  #baseCpuUs = 0;
  #baseThrottledUs = 0;
  #baseKills = 0;

  /**
   * @param io operations
   * @param layout directories of the root
   * @param name path relative to them; the directories must exist
   * @param fresh whether we have just made it, so that nothing in it can be frozen
   */
  constructor(io: CgroupIo, layout: Layout, name: string, fresh: boolean) {
    const below = (seat: Seat): Seat => ({ kind: seat.kind, dir: `${seat.dir}/${name}` });
    this.name = name;
    this.#io = io;
    this.#dirs = layout.seats.map((seat) => below(seat).dir);
    this.joinPaths = layout.seats.map((seat) => joinPath(below(seat)));
    this.#memory = new MemoryKnob(io, below(layout.memory));
    this.#cpu = new CpuKnob(io, below(layout.cpu));
    this.#pids = new PidsKnob(io, below(layout.pids));
    this.#cpuTime = layout.cpuTime && below(layout.cpuTime);
    this.#main = below(layout.main);
    const others = layout.seats.slice(1).map(below);
    this.#stopper = new Stopper(io, this.#main, others, this.#pids, layout.hasKill, !fresh);
  }

  openJoinFds(): readonly number[] {
    if (this.#joinFds.length > 0) return this.#joinFds;
    const fds: number[] = [];
    try {
      for (const path of this.joinPaths) fds.push(this.#io.openWrite(path));
    } catch (error) {
      for (const fd of fds) this.#io.close(fd);
      throw error;
    }
    this.#joinFds = fds;
    return fds;
  }

  closeJoinFds(): void {
    const fds = this.#joinFds;
    this.#joinFds = [];
    for (const fd of fds) this.#io.close(fd);
  }

  setLimits(limits: CgroupLimits): void {
    this.#memory.setMax(limits.memoryMaxBytes);
    this.#pids.setMax(limits.processesMax);
    this.#cpu.setPercent(limits.cpuPercent);
  }

  pids(): number[] {
    return readPids(this.#io, this.#main.dir);
  }

  freeze(): void {
    this.#stopper.freeze();
  }

  thaw(): void {
    this.#stopper.thaw();
  }

  isFrozen(): boolean {
    return this.#stopper.isFrozen();
  }

  killAll(): void {
    this.#stopper.killAll();
  }

  isEmpty(): boolean {
    return this.#dirs.every((dir) => readPids(this.#io, dir).length === 0);
  }

  async waitEmpty(hint?: Promise<unknown>, timeoutMs = DESTROY_TIMEOUT_MS): Promise<void> {
    if (hint !== undefined) await Promise.race([hint, sleep(CGROUP_EMPTY_HINT_WAIT_MS)]);
    if (await poll(() => this.#isEmptied(), timeoutMs)) return;
    throw new OlError(
      "internal",
      `Cannot empty cgroup ${JSON.stringify(this.name)}: processes are still in it after ${timeoutMs} ms`,
      { op: "cgroup.waitEmpty", details: { pids: this.pids() } },
    );
  }

  /** Kills as well what is in another hierarchy only: it was put there by hand. */
  #isEmptied(): boolean {
    if (readPids(this.#io, this.#main.dir).length > 0) return false;
    return !this.#stopper.killStrays();
  }

  usage(): CgroupUsage {
    const memoryBytes = this.#memory.currentBytes();
    return {
      memoryBytes,
      memoryPeakBytes: Math.max(memoryBytes, this.#memory.peakBytes()),
      cpuUs: this.#cpuUs() - this.#baseCpuUs,
      throttledUs: this.#cpu.throttledUs() - this.#baseThrottledUs,
      outOfMemoryKills: this.outOfMemoryKills(),
    };
  }

  memoryBytes(): number {
    return this.#memory.currentBytes();
  }

  outOfMemoryKills(): number {
    return this.#memory.outOfMemoryKills() - this.#baseKills;
  }

  resetUsage(last: CgroupUsage): boolean {
    this.#baseCpuUs += last.cpuUs;
    this.#baseThrottledUs += last.throttledUs;
    this.#baseKills += last.outOfMemoryKills;
    return this.#memory.resetPeak();
  }

  async remove(): Promise<void> {
    this.closeJoinFds();
    this.#memory.close();
    await removeDirs(this.#io, this.#dirs);
  }

  #cpuUs(): number {
    return this.#cpuTime === undefined ? 0 : cpuTimeUs(this.#io, this.#cpuTime);
  }
}
