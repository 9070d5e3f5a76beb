/**
 * Where the worker's directory may lie in a version 2 hierarchy, and the controllers on the way to it.
 *
 * Version 2 lets a cgroup other than the hierarchy's root either hold processes or hand controllers to
 * children ("no internal processes"). Processes of others are never moved: where they are in the way, the
 * next place is tried. The worker steps aside into a child of its own cgroup, and with it the workers and
 * commands of the same executable: a service starts several of them.
 *
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html (No Internal Process Constraint, Delegation)
 */

import { basename, dirname } from "node:path";
import { OlError, errnoNameOf } from "../common/errors.ts";
import { CGROUP_STEP_ASIDE_TRIES_MAX } from "../common/limits.ts";
import { type CgroupIo, tryRead } from "./io.ts";
import { type Hierarchy, directoryOf } from "./mounts.ts";

/** The chosen place. */
export interface Placement {
  /** The worker's directory. */
  readonly dir: string;
  /** Undoes what making it changed outside of `dir`, once `dir` is gone. */
  readonly release: () => void;
}

/** For places where nothing outside of the worker's directory was changed. */
export const NOTHING_TO_UNDO = (): void => {};

function words(text: string | null): string[] {
  return (text ?? "").trim().split(/\s+/).filter(Boolean);
}

/** Child into which the workers of a cgroup step, so that it may hand out controllers. */
const STEP_ASIDE = "openlambda-worker";

/** Where systemd runs the commands of a service that hands out controllers, and what they start. */
const CONTROL = ".control";

/**
 * @param io operations
 * @param dir cgroup whose children shall have the controllers
 * @param controllers which
 * @throws {SyscallError} syscall: EBUSY where `dir` holds processes, ENOENT where it lacks a controller
 */
function enableControllers(io: CgroupIo, dir: string, controllers: readonly string[]): void {
  const path = `${dir}/cgroup.subtree_control`;
  const enabled = words(tryRead(io, path));
  const wanted = controllers.filter((name) => !enabled.includes(name));
  // One at a time: a write of several fails as a whole and would not say which one is refused.
  for (const name of wanted) io.write(path, `+${name}`);
}

function moveThere(io: CgroupIo, leaf: string, pid: string): void {
  try {
    io.write(`${leaf}/cgroup.procs`, pid);
  } catch (error) {
    if (errnoNameOf(error) !== "ESRCH") throw error;
  }
}

/** Moves us, and who else of ours is in `own`, into a child of it, so that `own` becomes empty. */
function stepAside(io: CgroupIo, own: string): () => void {
  const leaf = `${own}/${STEP_ASIDE}`;
  if (!io.exists(leaf)) io.makeDir(leaf);
  for (const pid of new Set([String(io.selfPid), ...words(io.read(`${own}/cgroup.procs`))])) {
    moveThere(io, leaf, pid);
  }
  return () => {
    // The last one puts things back as they were.
    if (words(tryRead(io, `${leaf}/cgroup.procs`)).some((pid) => pid !== String(io.selfPid)))
      return;
    if (io.childDirs(own).some((name) => name !== STEP_ASIDE)) return;
    for (const name of words(tryRead(io, `${own}/cgroup.subtree_control`))) {
      io.write(`${own}/cgroup.subtree_control`, `-${name}`);
    }
    io.write(`${own}/cgroup.procs`, String(io.selfPid));
    io.removeDir(leaf);
  };
}

/** Makes `parent` hand out the controllers; null with the reason in `reasons` where it cannot. */
function prepare(
  io: CgroupIo,
  parent: string,
  controllers: readonly string[],
  reasons: string[],
): (() => void) | null {
  const offered = words(tryRead(io, `${parent}/cgroup.controllers`));
  const lacking = controllers.filter((name) => !offered.includes(name));
  if (lacking.length > 0) {
    reasons.push(`${parent} has no ${lacking.join(", ")}`);
    return null;
  }
  try {
    enableControllers(io, parent, controllers);
    return NOTHING_TO_UNDO;
  } catch (error) {
    if (errnoNameOf(error) !== "EBUSY") {
      reasons.push(`${parent}: ${(error as Error).message}`);
      return null;
    }
  }
  return clear(io, parent, controllers, reasons);
}

/** Moves ourselves out of `parent`, then as `prepare`. Another worker may start in it meanwhile. */
function clear(
  io: CgroupIo,
  parent: string,
  controllers: readonly string[],
  reasons: string[],
): (() => void) | null {
  let undo = NOTHING_TO_UNDO;
  for (let tries = 1; ; tries++) {
    if (holdsOthers(io, parent)) {
      reasons.push(`${parent} holds processes that are not ours`);
      return null;
    }
    try {
      undo = stepAside(io, parent);
      enableControllers(io, parent, controllers);
      return undo;
    } catch (error) {
      if (errnoNameOf(error) === "EBUSY" && tries < CGROUP_STEP_ASIDE_TRIES_MAX) continue;
      undo();
      reasons.push(`${parent}: ${(error as Error).message}`);
      return null;
    }
  }
}

function holdsOthers(io: CgroupIo, dir: string): boolean {
  return words(tryRead(io, `${dir}/cgroup.procs`)).some((pid) => !io.isOurs(Number(pid)));
}

/** The cgroup that is ours to divide: not the child into which another worker has moved us, or systemd. */
function ownPlace(own: string): string {
  return [STEP_ASIDE, CONTROL].includes(basename(own)) ? dirname(own) : own;
}

/**
 * Tries the worker's own cgroup first (a service or scope that was delegated to it and holds nobody
 * else), then the top of what is mounted.
 *
 * @param io operations
 * @param hierarchy the version 2 hierarchy
 * @param ownPath the worker's cgroup as `/proc/self/cgroup` names it, or null
 * @param name directory to make
 * @param controllers that must be enabled in it and for its children; may be none (hybrid)
 * @returns the directory, made or adopted
 * @throws {OlError} host_unsupported with every place that was tried and why it cannot be
 */
export function placeUnified(
  io: CgroupIo,
  hierarchy: Hierarchy,
  ownPath: string | null,
  name: string,
  controllers: readonly string[],
): Placement {
  const top = hierarchy.mountPoint;
  const inside = ownPath === null ? null : directoryOf(hierarchy, ownPath);
  const own = inside === null ? null : ownPlace(inside);
  const places = own === null || own === top || controllers.length === 0 ? [top] : [own, top];
  const reasons: string[] = [];
  for (const place of places) {
    // Our own cgroup is ours only when nobody else lives in it: a login session is not.
    if (place === own && place !== top) {
      if (holdsOthers(io, place)) {
        reasons.push(`${place} holds processes that are not ours`);
        continue;
      }
    }
    const prepared = prepare(io, place, controllers, reasons);
    if (prepared === null) continue;
    // Others were here before us: their leaf is ours too, and the last one's to remove.
    const joins = place === own && place !== inside && prepared === NOTHING_TO_UNDO;
    const undo = joins ? stepAside(io, place) : prepared;
    const dir = `${place}/${name}`;
    try {
      if (!io.exists(dir)) io.makeDir(dir);
      enableControllers(io, dir, controllers);
      return { dir, release: undo };
    } catch (error) {
      reasons.push(`${dir}: ${(error as Error).message}`);
      undo();
    }
  }
  throw new OlError(
    "host_unsupported",
    `Cannot limit sandboxes with cgroups: ${reasons.join("; ")}; start the worker in a cgroup of ` +
      "its own with systemd-run --scope -p Delegate=yes, or as root of the host",
    { op: "cgroup.openRoot", details: { reasons } },
  );
}
