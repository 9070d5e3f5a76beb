/** What the cgroup of a process holds it to, read from the kernel's own files in either version. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { directoryOf, parseMountinfo } from "../../src/cgroup/mounts.ts";
import type { ProcessView } from "./process-view.ts";

/** Bounds that the kernel reports. */
export interface CgroupBounds {
  readonly memoryBytes: number;
  /** Whether it may swap beside its memory; false as well where the kernel does not count swap. */
  readonly hasSwap: boolean;
  readonly processes: number;
  readonly cpuPercent: number;
}

/** @param view a process @returns what bounds it */
export function boundsOf(view: ProcessView): CgroupBounds {
  const hierarchies = parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
  /** The text of a file in whichever hierarchy has it. */
  const read = (names: readonly string[]): string | null => {
    for (const [controllers, path] of view.cgroups) {
      for (const hierarchy of hierarchies) {
        if (hierarchy.controllers.join() !== controllers.replace(/^name=/, "")) continue;
        const dir = directoryOf(hierarchy, path);
        const file = names.map((name) => join(dir ?? "/", name)).find((it) => existsSync(it));
        if (dir !== null && file !== undefined) return readFileSync(file, "utf8").trim();
      }
    }
    return null;
  };
  const number = (...names: string[]): number => Number(read(names) ?? Number.NaN);
  const memoryBytes = number("memory.max", "memory.limit_in_bytes");
  const swap = read(["memory.swap.max"]);
  // Version 1 counts memory and swap together.
  const together = read(["memory.memsw.limit_in_bytes"]);
  const [quota, period] = (read(["cpu.max"]) ?? "").split(" ").map(Number);
  const quotaUs = quota === 0 || period === undefined ? number("cpu.cfs_quota_us") : quota;
  const periodUs = period ?? number("cpu.cfs_period_us");
  return {
    memoryBytes,
    hasSwap: (swap ?? "0") !== "0" || (together ?? String(memoryBytes)) !== String(memoryBytes),
    processes: number("pids.max"),
    cpuPercent: ((quotaUs ?? Number.NaN) / periodUs) * 100,
  };
}
