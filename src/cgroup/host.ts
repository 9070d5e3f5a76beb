/** Entry of this directory: looks at the machine and opens a worker's cgroup root on it. */

import { OlError, errnoNameOf } from "../common/errors.ts";
import type { CgroupHost, CgroupRoot } from "./contract.ts";
import type { Layout } from "./group.ts";
import { type CgroupIo, systemCgroupIo, tryRead } from "./io.ts";
import type { Seat } from "./knobs.ts";
import { type Hierarchy, ownUnifiedPath, parseMountinfo } from "./mounts.ts";
import { NOTHING_TO_UNDO, placeUnified } from "./placement.ts";
import { type CgroupPlan, LIMIT_CONTROLLERS, planCgroups } from "./plan.ts";
import { KernelCgroupRoot, assertComponent } from "./root.ts";

/**
 * Reads what the kernel says about cgroups; changes nothing and throws for no shortcoming, so that
 * `doctor` can show them all.
 *
 * @param io operations, default the machine's own
 * @returns what was found
 */
export function detectCgroups(io: CgroupIo = systemCgroupIo): CgroupHost {
  const hierarchies = parseMountinfo(io.read("/proc/self/mountinfo"));
  const plan = planCgroups(io, hierarchies, tryRead(io, "/proc/cgroups") ?? "");
  const missing = plan.gaps.filter((gap) => gap.fatal).map((gap) => gap.what);
  return {
    version: plan.version,
    missing,
    gaps: plan.gaps,
    describe: () => describe(plan),
    openRoot: (name) => openRoot(io, plan, name),
  };
}

function describe(plan: CgroupPlan): string {
  const limits = LIMIT_CONTROLLERS.map((name) => {
    const hierarchy = plan.limits[name];
    return hierarchy === undefined ? `no ${name}` : `${name} at ${hierarchy.mountPoint}`;
  });
  const freezer = plan.unified ?? plan.freezerV1;
  limits.push(freezer === undefined ? "no freezer" : `freezer at ${freezer.mountPoint}`);
  return `cgroup ${plan.version}: ${limits.join(", ")}`;
}

/** Makes the worker's directory in one version 1 hierarchy, directly below where it is mounted. */
function placeV1(io: CgroupIo, hierarchy: Hierarchy, name: string): Seat {
  const dir = `${hierarchy.mountPoint}/${name}`;
  if (!io.exists(dir)) io.makeDir(dir);
  // Before Linux 5.11 a limit does not cover the children of a cgroup unless asked for.
  const flag = `${dir}/memory.use_hierarchy`;
  if (hierarchy.controllers.includes("memory") && tryRead(io, flag)?.trim() === "0") {
    io.write(flag, "1");
  }
  return { kind: "v1", dir };
}

function requireComplete(plan: CgroupPlan): void {
  const fatal = plan.gaps.filter((gap) => gap.fatal);
  if (fatal.length === 0) return;
  const list = fatal.map((gap) => `no ${gap.what} (needed for ${gap.disables}; mend: ${gap.mend})`);
  throw new OlError("host_unsupported", `Cannot limit sandboxes with cgroups: ${list.join("; ")}`, {
    op: "cgroup.openRoot",
    details: { gaps: fatal },
  });
}

/** Places the root in every hierarchy and learns what only a cgroup below the top shows. */
function openRoot(io: CgroupIo, plan: CgroupPlan, name: string): CgroupRoot {
  assertComponent(name);
  requireComplete(plan);
  const made: Seat[] = [];
  let release = NOTHING_TO_UNDO;
  try {
    const seats = new Map<Hierarchy, Seat>();
    const { unified } = plan;
    if (unified !== undefined) {
      const controllers = LIMIT_CONTROLLERS.filter((entry) => plan.limits[entry] === unified);
      const own = ownUnifiedPath(io.read("/proc/self/cgroup"));
      const placement = placeUnified(io, unified, own, name, controllers);
      release = placement.release;
      const seat: Seat = { kind: "v2", dir: placement.dir };
      seats.set(unified, seat);
      made.push(seat);
    }
    const seatOf = (hierarchy: Hierarchy): Seat => {
      const known = seats.get(hierarchy);
      if (known !== undefined) return known;
      const seat = placeV1(io, hierarchy, name);
      seats.set(hierarchy, seat);
      made.push(seat);
      return seat;
    };
    return new KernelCgroupRoot(io, name, layoutOf(io, plan, seatOf), release);
  } catch (error) {
    undo(io, made, release);
    const errno = errnoNameOf(error);
    if (errno !== "EACCES" && errno !== "EPERM" && errno !== "EROFS") throw error;
    throw new OlError(
      "host_unsupported",
      `Cannot limit sandboxes with cgroups: ${(error as Error).message}, run the worker as root on a ` +
        "writable cgroup file system",
      { op: "cgroup.openRoot", cause: error },
    );
  }
}

/** Takes away empty directories after a failure; the failure itself is what gets reported. */
function undo(io: CgroupIo, made: readonly Seat[], release: () => void): void {
  try {
    for (const seat of made) io.removeDir(seat.dir);
    release();
  } catch {
    // A root that was adopted from an earlier worker is not empty: it stays for the next start.
  }
}

function layoutOf(io: CgroupIo, plan: CgroupPlan, seatOf: (hierarchy: Hierarchy) => Seat): Layout {
  const unified = plan.unified === undefined ? undefined : seatOf(plan.unified);
  const has = (file: string): boolean =>
    unified !== undefined && io.exists(`${unified.dir}/${file}`);
  const main =
    unified !== undefined && has("cgroup.freeze")
      ? unified
      : plan.freezerV1 !== undefined
        ? seatOf(plan.freezerV1)
        : undefined;
  const { memory, cpu, pids } = plan.limits;
  if (main === undefined || memory === undefined || cpu === undefined || pids === undefined) {
    throw new OlError(
      "host_unsupported",
      "Cannot pause sandboxes: this kernel's cgroup version 2 has no cgroup.freeze (Linux 5.2) and the " +
        "version 1 freezer is not mounted; mend: mount -t cgroup -o freezer cgroup <directory>",
      { op: "cgroup.openRoot" },
    );
  }
  const seats = { memory: seatOf(memory), cpu: seatOf(cpu), pids: seatOf(pids) };
  const cpuTime = unified ?? (plan.cpuacctV1 === undefined ? undefined : seatOf(plan.cpuacctV1));
  const all = [
    main,
    seats.memory,
    seats.pids,
    seats.cpu,
    ...(cpuTime === undefined ? [] : [cpuTime]),
  ];
  return {
    main,
    ...seats,
    cpuTime,
    seats: [...new Set(all)],
    hasKill: main === unified && has("cgroup.kill"),
  };
}
