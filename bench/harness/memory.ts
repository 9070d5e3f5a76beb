/** What the machine holds: memory, and everything that a destroyed sandbox could leave behind. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Things that are counted before and after. */
export interface Holdings {
  readonly mounts: number;
  readonly cgroups: number;
  readonly processes: number;
  readonly workerFds: number;
  readonly workerRssBytes: number;
  readonly usedBytes: number;
  readonly scratchEntries: number;
}

/** Memory that cannot be had back without ending something, in bytes. */
export function usedMemoryBytes(): number {
  const info = readFileSync("/proc/meminfo", "utf8");
  const bytes = (key: string): number =>
    Number(new RegExp(`^${key}: +(\\d+) kB`, "m").exec(info)?.[1] ?? Number.NaN) * 1024;
  return bytes("MemTotal") - bytes("MemAvailable");
}

/**
 * @param pid of a process
 * @returns resident bytes, 0 where it is gone
 */
export function residentBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Directories below one; those that go away meanwhile are not there. */
function countDirs(dir: string): number {
  let count = 0;
  try {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      if (entry.isDirectory()) count += 1 + countDirs(`${dir}/${entry.name}`);
    }
  } catch {
    // It was removed between two looks.
  }
  return count;
}

function countEntries(dir: string): number {
  try {
    return readdirSync(dir, { recursive: true }).length;
  } catch {
    return 0;
  }
}

/** Parent of every process that can be read. */
function parents(): Map<number, number> {
  const result = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      // The name may hold spaces and brackets; fields are counted from its last bracket.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      result.set(Number(entry), Number(fields[1]));
    } catch {
      // It ended meanwhile.
    }
  }
  return result;
}

/** A process and all that descend from it. */
function familyOf(pid: number): Set<number> {
  const parentOf = parents();
  const family = new Set([pid]);
  for (let grown = true; grown;) {
    grown = false;
    for (const [child, parent] of parentOf) {
      if (!family.has(parent) || family.has(child)) continue;
      family.add(child);
      grown = true;
    }
  }
  return family;
}

/**
 * Mounts that some processes can see, each mount namespace counted once. In the namespace of the machine only
 * those that bear the cluster's name: whoever else uses the machine mounts things too.
 */
function mountsOf(pids: Iterable<number>, clusterDir: string): number {
  const machine = readlinkSync("/proc/self/ns/mnt");
  const seen = new Set<string>();
  let mounts = 0;
  for (const entry of pids) {
    try {
      const namespace = readlinkSync(`/proc/${entry}/ns/mnt`);
      if (seen.has(namespace)) continue;
      seen.add(namespace);
      const lines = readFileSync(`/proc/${entry}/mountinfo`, "utf8").trim().split("\n");
      mounts += lines.filter(
        (line) => namespace !== machine || line.includes(clusterDir) || line.includes("openlambda"),
      ).length;
    } catch {
      // It ended meanwhile, or is not ours to look at.
    }
  }
  return mounts;
}

/** Cgroup directories of the worker whose family this is, in all hierarchies. */
function cgroupsOf(pids: Iterable<number>): number {
  const roots = new Set<string>();
  for (const pid of pids) {
    try {
      for (const row of readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n")) {
        // Rows are "number:controllers:path"; a worker has one group of its own below the machine's.
        const root = /^\d+:[^:]*:(.*?\/openlambda[^/]*)/.exec(row)?.[1];
        if (root !== undefined) roots.add(root);
      }
    } catch {
      // It ended meanwhile.
    }
  }
  const hierarchies = ["", ...readdirSync("/sys/fs/cgroup").map((name) => `/${name}`)];
  let count = 0;
  for (const root of roots) {
    for (const hierarchy of hierarchies) count += countDirs(`/sys/fs/cgroup${hierarchy}${root}`);
  }
  return count;
}

/**
 * @param workerPid of the worker
 * @param clusterDir of its cluster
 * @returns counts as they are now
 */
export function holdings(workerPid: number, clusterDir: string): Holdings {
  const family = familyOf(workerPid);
  return {
    mounts: mountsOf(family, clusterDir),
    cgroups: cgroupsOf(family),
    processes: family.size - 1,
    workerFds: readdirSync(`/proc/${workerPid}/fd`).length,
    workerRssBytes: residentBytes(workerPid),
    usedBytes: usedMemoryBytes(),
    scratchEntries: countEntries(`${clusterDir}/workers/worker-0/handlers`),
  };
}
