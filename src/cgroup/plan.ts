/** Decides which hierarchy serves which purpose on this host, and names what is missing. */

import type { CgroupGap, CgroupHost } from "./contract.ts";
import { type CgroupIo, tryRead } from "./io.ts";
import type { Hierarchy } from "./mounts.ts";

/** Controllers without which no limit of a sandbox would hold. */
export const LIMIT_CONTROLLERS = ["memory", "cpu", "pids"] as const;

/** One of `LIMIT_CONTROLLERS`. */
export type LimitController = (typeof LIMIT_CONTROLLERS)[number];

/** Hierarchy per purpose; undefined where this host has none. */
export interface CgroupPlan {
  readonly version: CgroupHost["version"];
  readonly limits: Readonly<Record<LimitController, Hierarchy | undefined>>;
  /** The version 2 hierarchy: freezes, kills and counts CPU time even without controllers. */
  readonly unified: Hierarchy | undefined;
  /** The version 1 freezer, for kernels whose version 2 cannot freeze (before 5.2) or is not mounted. */
  readonly freezerV1: Hierarchy | undefined;
  /** Version 1 CPU time, where there is no version 2 hierarchy. */
  readonly cpuacctV1: Hierarchy | undefined;
  readonly gaps: readonly CgroupGap[];
}

const DISABLES: Readonly<Record<LimitController, string>> = {
  memory: "the memory limit of sandboxes",
  cpu: "the CPU limit of sandboxes",
  pids: "the limit of processes of sandboxes",
};

function gapOf(what: string, disables: string, mend: string, fatal = true): CgroupGap {
  return { what, disables, mend, fatal };
}

const MOUNT_UNIFIED =
  "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified";
const MOUNT_CPUACCT =
  "mkdir -p /sys/fs/cgroup/cpuacct && mount -t cgroup -o cpuacct cgroup /sys/fs/cgroup/cpuacct";

/** How to make writable what would serve a purpose, or null where nothing that would is mounted. */
function remountOf(name: string, all: readonly Hierarchy[]): string | null {
  const readOnly = all.find((h) => h.readOnly && (h.kind === "v2" || h.controllers.includes(name)));
  return readOnly === undefined ? null : `mount -o remount,rw ${readOnly.mountPoint}`;
}

/** Why a controller cannot be used, and what to do about it. */
function limitGap(name: LimitController, all: readonly Hierarchy[], kernel: string): CgroupGap {
  const remount = remountOf(name, all);
  if (remount !== null) return gapOf(name, DISABLES[name], remount);
  // /proc/cgroups: name, hierarchy, number of cgroups, enabled.
  const row = kernel.split("\n").find((line) => line.startsWith(`${name}\t`));
  if (row?.split("\t")[3] === "0") {
    const mend = `add cgroup_enable=${name} to the kernel command line and restart the machine`;
    return gapOf(name, DISABLES[name], mend);
  }
  const v1 = all.find((h) => h.kind === "v1");
  if (v1 !== undefined) {
    const point = `${v1.mountPoint.slice(0, v1.mountPoint.lastIndexOf("/"))}/${name}`;
    const mend = `mkdir -p ${point} && mount -t cgroup -o ${name} cgroup ${point}`;
    return gapOf(name, DISABLES[name], mend);
  }
  if (all.length > 0) {
    const mend =
      `let the parent of this cgroup namespace delegate it (in a container: run with ` +
      `--privileged --cgroupns=host; under systemd: Delegate=yes)`;
    return gapOf(name, DISABLES[name], mend);
  }
  return gapOf(name, DISABLES[name], "mount -t cgroup2 cgroup2 /sys/fs/cgroup");
}

/**
 * Version 2 is preferred for each purpose, because it needs fewer joins and kills in one write.
 *
 * @param io where to read
 * @param hierarchies what is mounted
 * @param procCgroups content of `/proc/cgroups`, which names controllers that are switched off
 * @returns what serves what, and every gap
 */
export function planCgroups(
  io: CgroupIo,
  hierarchies: readonly Hierarchy[],
  procCgroups: string,
): CgroupPlan {
  const writable = hierarchies.filter((hierarchy) => !hierarchy.readOnly);
  const v1 = (name: string): Hierarchy | undefined =>
    writable.find((h) => h.kind === "v1" && h.controllers.includes(name));
  const version2 = writable.find((hierarchy) => hierarchy.kind === "v2");
  const offered =
    version2 === undefined
      ? []
      : (tryRead(io, `${version2.mountPoint}/cgroup.controllers`) ?? "").trim().split(" ");
  // One without controllers beside a complete version 1 is left alone: joining it is what takes long.
  const isNeeded =
    LIMIT_CONTROLLERS.some((name) => offered.includes(name)) ||
    ["freezer", "cpuacct"].some((name) => v1(name) === undefined);
  const unified = isNeeded ? version2 : undefined;
  const pick = (name: string): Hierarchy | undefined =>
    offered.includes(name) ? unified : v1(name);

  const limits = { memory: pick("memory"), cpu: pick("cpu"), pids: pick("pids") };
  const freezerV1 = v1("freezer");
  const cpuacctV1 = v1("cpuacct");
  const gaps = LIMIT_CONTROLLERS.filter((name) => limits[name] === undefined).map((name) =>
    limitGap(name, hierarchies, procCgroups),
  );
  if (unified === undefined && freezerV1 === undefined) {
    const disables = "pausing sandboxes and killing all their processes at once";
    const mend = remountOf("freezer", hierarchies) ?? MOUNT_UNIFIED;
    gaps.push(gapOf("freezer", disables, mend));
  }
  if (unified === undefined && cpuacctV1 === undefined) {
    const mend = remountOf("cpuacct", hierarchies) ?? MOUNT_CPUACCT;
    gaps.push(gapOf("cpuacct", "figures of CPU time used", mend, false));
  }
  const hasV1 = hierarchies.some((h) => h.kind === "v1" && h.controllers.length > 0);
  const hasV2 = hierarchies.some((h) => h.kind === "v2");
  const version = hasV1 ? (hasV2 ? "hybrid" : "v1") : hasV2 ? "v2" : "none";
  return { version, limits, unified, freezerV1, cpuacctV1, gaps };
}
