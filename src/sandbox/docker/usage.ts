/** Resources of a container, read from its cgroup without asking the daemon. */

import { readFileSync } from "node:fs";
import { type CgroupIo, systemCgroupIo } from "../../cgroup/io.ts";
import { CpuKnob, MemoryKnob, type Seat, cpuTimeUs } from "../../cgroup/knobs.ts";
import { directoryOf, parseMountinfo } from "../../cgroup/mounts.ts";
import { errnoNameOf } from "../../common/errors.ts";
import type { SandboxUsage } from "../contract.ts";

const NOTHING: SandboxUsage = {
  memoryBytes: 0,
  memoryPeakBytes: 0,
  cpuUs: 0,
  throttledUs: 0,
  outOfMemoryKills: 0,
};

/** Reads one container's cgroup; remembers the last figures for when it is gone. */
export class ContainerUsage {
  readonly #memory: MemoryKnob | undefined;
  readonly #cpu: CpuKnob | undefined;
  readonly #cpuTime: Seat | undefined;
  readonly #io: CgroupIo;
  #last: SandboxUsage = NOTHING;

  /**
   * @param pid of the container's first process, as the host sees it
   * @param io for tests
   */
  constructor(pid: number, io: CgroupIo = systemCgroupIo) {
    const seats = findSeats(pid);
    this.#io = io;
    this.#memory = seats.memory && new MemoryKnob(io, seats.memory);
    this.#cpu = seats.cpu && new CpuKnob(io, seats.cpu);
    this.#cpuTime = seats.cpuTime;
  }

  /** @returns what it uses now, or did when it was last seen */
  read(): SandboxUsage {
    try {
      this.#last = {
        memoryBytes: this.#memory?.currentBytes() ?? 0,
        memoryPeakBytes: this.#memory?.peakBytes() ?? 0,
        cpuUs: this.#cpuTime === undefined ? 0 : cpuTimeUs(this.#io, this.#cpuTime),
        throttledUs: this.#cpu?.throttledUs() ?? 0,
        outOfMemoryKills: this.#memory?.outOfMemoryKills() ?? 0,
      };
    } catch (error) {
      const name = errnoNameOf(error);
      if (name !== "ENOENT" && name !== "ENODEV") throw error;
    }
    return this.#last;
  }
}

type Seats = Partial<Record<"memory" | "cpu" | "cpuTime", Seat>>;

/** Where the kernel keeps the figures of a process's cgroup; empty where the process is gone. */
function findSeats(pid: number): Seats {
  let own: string;
  try {
    own = readFileSync(`/proc/${pid}/cgroup`, "utf8");
  } catch {
    return {};
  }
  const hierarchies = parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
  const seats: Seats = {};
  for (const line of own.split("\n")) {
    const [, names = "", path = ""] = /^\d+:([^:]*):(.*)$/u.exec(line) ?? [];
    if (path === "") continue;
    const controllers = names.split(",");
    const hierarchy = hierarchies.find((it) =>
      names === "" ? it.kind === "v2" : it.controllers.some((name) => controllers.includes(name)),
    );
    const dir = hierarchy === undefined ? null : directoryOf(hierarchy, path);
    if (hierarchy === undefined || dir === null) continue;
    const seat: Seat = { kind: hierarchy.kind, dir };
    if (hierarchy.kind === "v2") {
      // On hybrid hosts version 2 has no controllers, and Docker keeps nothing there.
      if (hierarchies.length === 1) return { memory: seat, cpu: seat, cpuTime: seat };
      continue;
    }
    if (controllers.includes("memory")) seats.memory = seat;
    if (controllers.includes("cpu")) seats.cpu = seat;
    if (controllers.includes("cpuacct")) seats.cpuTime = seat;
  }
  return seats;
}
