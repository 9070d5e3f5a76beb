/** The files behind each limit and each figure, for both versions: one small class per controller. */

import { assert } from "../common/assert.ts";
import { SyscallError } from "../common/errors.ts";
import { CGROUP_CPU_PERIOD_US } from "../common/limits.ts";
import { type CgroupIo, field, tryRead } from "./io.ts";

/** A cgroup's directory in one hierarchy. */
export interface Seat {
  readonly kind: "v1" | "v2";
  readonly dir: string;
}

/** Memory: limit without swap, use, peak, kills. */
export class MemoryKnob {
  readonly #io: CgroupIo;
  readonly #seat: Seat;
  #maxBytes = Number.POSITIVE_INFINITY;
  #prepared = false;
  #hasSwapLimit = false;
  #hasTcpLimit = false;
  /** Version 2: the descriptor through which a reset peak is seen. */
  #peakFd: number | null = null;
  /** Highest use that was read; stands in for the peak before Linux 5.19. */
  #seenBytes = 0;

  constructor(io: CgroupIo, seat: Seat) {
    this.#io = io;
    this.#seat = seat;
  }

  setMax(bytes: number): void {
    assert(Number.isSafeInteger(bytes) && bytes > 0, `memoryMaxBytes ${bytes} is not a size`);
    if (bytes === this.#maxBytes) return;
    this.#prepare();
    if (this.#seat.kind === "v2") this.#write("memory.max", bytes);
    else this.#setMaxV1(bytes);
    this.#maxBytes = bytes;
  }

  currentBytes(): number {
    const file = this.#seat.kind === "v2" ? "memory.current" : "memory.usage_in_bytes";
    const bytes = Number(this.#io.read(`${this.#seat.dir}/${file}`));
    this.#seenBytes = Math.max(this.#seenBytes, bytes);
    return bytes;
  }

  /** @returns the highest use, or the highest that was ever read where the kernel keeps none */
  peakBytes(): number {
    if (this.#peakFd !== null) return Number(this.#io.readFd(this.#peakFd));
    const file = this.#seat.kind === "v2" ? "memory.peak" : "memory.max_usage_in_bytes";
    const text = tryRead(this.#io, `${this.#seat.dir}/${file}`);
    if (text !== null) return Number(text);
    this.currentBytes();
    return this.#seenBytes;
  }

  /** @returns false where the kernel cannot (version 2 from 5.19 to 6.11) */
  resetPeak(): boolean {
    this.#seenBytes = 0;
    if (this.#seat.kind === "v1") {
      this.#write("memory.max_usage_in_bytes", 0);
      return true;
    }
    const path = `${this.#seat.dir}/memory.peak`;
    if (!this.#io.exists(path)) return true;
    try {
      this.#peakFd ??= this.#io.openReadWrite(path);
      this.#io.writeFd(this.#peakFd, "0");
      return true;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.close();
      return false;
    }
  }

  outOfMemoryKills(): number {
    const file = this.#seat.kind === "v2" ? "memory.events" : "memory.oom_control";
    return field(this.#io.read(`${this.#seat.dir}/${file}`), "oom_kill");
  }

  close(): void {
    if (this.#peakFd !== null) this.#io.close(this.#peakFd);
    this.#peakFd = null;
  }

  /** What is written once per cgroup: everything beside the limit itself. */
  #prepare(): void {
    if (this.#prepared) return;
    const has = (file: string): boolean => this.#io.exists(`${this.#seat.dir}/${file}`);
    if (this.#seat.kind === "v2") {
      if (has("memory.swap.max")) this.#write("memory.swap.max", 0);
      // A sandbox that lost one process has lost its meaning: let the kernel end all of it.
      if (has("memory.oom.group")) this.#write("memory.oom.group", 1);
    } else {
      this.#hasSwapLimit = has("memory.memsw.limit_in_bytes");
      this.#hasTcpLimit = has("memory.kmem.tcp.limit_in_bytes");
      // Without swap accounting the next best is never to swap the pages of this cgroup.
      if (!this.#hasSwapLimit && has("memory.swappiness")) this.#write("memory.swappiness", 0);
    }
    this.#prepared = true;
  }

  /** Version 1 refuses a limit of memory and swap together below the one of memory, at every moment. */
  #setMaxV1(bytes: number): void {
    const files = ["memory.limit_in_bytes"];
    if (this.#hasSwapLimit) files.push("memory.memsw.limit_in_bytes");
    if (bytes > this.#maxBytes) files.reverse();
    // Socket buffers of TCP are counted apart in version 1; everything else of the kernel is in the sum.
    if (this.#hasTcpLimit) files.push("memory.kmem.tcp.limit_in_bytes");
    for (const file of files) this.#write(file, bytes);
  }

  #write(file: string, value: number): void {
    this.#io.write(`${this.#seat.dir}/${file}`, String(value));
  }
}

/** CPU: quota per period, time held back. */
export class CpuKnob {
  readonly #io: CgroupIo;
  readonly #seat: Seat;
  #percent: number | null = null;

  constructor(io: CgroupIo, seat: Seat) {
    this.#io = io;
    this.#seat = seat;
  }

  setPercent(percent: number): void {
    assert(Number.isFinite(percent) && percent >= 1, `cpuPercent ${percent} is below 1`);
    if (percent === this.#percent) return;
    const quotaUs = Math.round((percent / 100) * CGROUP_CPU_PERIOD_US);
    if (this.#seat.kind === "v2") {
      this.#io.write(`${this.#seat.dir}/cpu.max`, `${quotaUs} ${CGROUP_CPU_PERIOD_US}`);
    } else {
      // The period of a new cgroup is the kernel's default, which is ours.
      this.#io.write(`${this.#seat.dir}/cpu.cfs_quota_us`, String(quotaUs));
    }
    this.#percent = percent;
  }

  throttledUs(): number {
    const stat = this.#io.read(`${this.#seat.dir}/cpu.stat`);
    if (this.#seat.kind === "v2") return field(stat, "throttled_usec");
    return Math.round(field(stat, "throttled_time") / 1000);
  }
}

/** Processes and threads: their number. The files are the same in both versions. */
export class PidsKnob {
  readonly #io: CgroupIo;
  readonly #seat: Seat;
  #max: number | null = null;

  constructor(io: CgroupIo, seat: Seat) {
    this.#io = io;
    this.#seat = seat;
  }

  setMax(count: number): void {
    assert(Number.isSafeInteger(count) && count >= 1, `processesMax ${count} is below 1`);
    if (count === this.#max) return;
    this.#write(count);
  }

  /** No process inside can fork any more, until `setMax`. */
  forbidForks(): void {
    this.#write(0);
  }

  #write(count: number): void {
    this.#io.write(`${this.#seat.dir}/pids.max`, String(count));
    this.#max = count;
  }
}

/**
 * @param io where to read
 * @param seat the hierarchy that counts CPU time: version 2, or version 1 with cpuacct
 * @returns CPU time used by the cgroup, in microseconds
 */
export function cpuTimeUs(io: CgroupIo, seat: Seat): number {
  if (seat.kind === "v2") return field(io.read(`${seat.dir}/cpu.stat`), "usage_usec");
  return Math.round(Number(io.read(`${seat.dir}/cpuacct.usage`)) / 1000);
}
