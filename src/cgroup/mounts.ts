/** Finds the mounted cgroup hierarchies in the kernel's own tables; never assumes a path. */

/** One mounted hierarchy of cgroups. */
export interface Hierarchy {
  readonly kind: "v1" | "v2";
  /** Where it is mounted. */
  readonly mountPoint: string;
  /** Which of its cgroups is mounted there (`/`, or a subtree inside a container). */
  readonly mountRoot: string;
  /** Version 1: controllers of this hierarchy. Version 2: empty, `cgroup.controllers` tells. */
  readonly controllers: readonly string[];
  readonly readOnly: boolean;
}

/** Words among a version 1 mount's super options that are no controllers. */
const FLAGS_V1 = new Set([
  "rw",
  "ro",
  "none",
  "clone_children",
  "xattr",
  "noprefix",
  "cpuset_v2_mode",
  "favordynmods",
  "nosuid",
]);

/** Undoes the octal escapes of blanks and backslashes in mountinfo. */
function unescapePath(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** One line of mountinfo, as far as it says what hides what. */
interface Mount {
  readonly id: string;
  readonly parent: string;
  /** As escaped in the file: only compared. */
  readonly point: string;
  readonly line: string;
}

function readMounts(mountinfo: string): Mount[] {
  return mountinfo
    .split("\n")
    .filter((line) => line.includes(" - "))
    .map((line) => {
      const [id = "", parent = "", , , point = ""] = line.split(" ");
      return { id, parent, point, line };
    });
}

/**
 * Whether a path that leads to `point` meets a mount at `obstacle` on its way. What is mounted over
 * the root of a process is not met: its lookups begin below that.
 */
function leadsThrough(point: string, obstacle: string): boolean {
  if (obstacle === "/" || obstacle === "") return false;
  return point === obstacle || point.startsWith(`${obstacle}/`);
}

/**
 * Picks the mounts that a lookup of their path arrives at. One is hidden where something else is
 * mounted, on the same parent, at or above its place, and where its parent is hidden for that path.
 */
function visibleMounts(mounts: readonly Mount[]): Mount[] {
  const byId = new Map(mounts.map((mount) => [mount.id, mount]));
  const order = new Map(mounts.map((mount, index) => [mount, index]));
  const children = new Map<string, Mount[]>();
  for (const mount of mounts) {
    const siblings = children.get(mount.parent);
    if (siblings === undefined) children.set(mount.parent, [mount]);
    else siblings.push(mount);
  }
  const isReached = (mount: Mount): boolean => {
    const obstacles = (children.get(mount.parent) ?? []).filter(
      (other) => other.id !== mount.id && leadsThrough(mount.point, other.point),
    );
    // Two at the same place with the same parent: the later one is on top.
    const at = order.get(mount) ?? 0;
    return obstacles.every((other) => other.point === mount.point && (order.get(other) ?? 0) < at);
  };
  const isVisible = (target: Mount): boolean => {
    const covers = children.get(target.id) ?? [];
    if (covers.some(({ id, point }) => id !== target.id && point === target.point)) return false;
    const seen = new Set<string>();
    let mount: Mount | undefined = target;
    while (mount !== undefined && !seen.has(mount.id)) {
      if (!isReached(mount)) return false;
      seen.add(mount.id);
      mount = byId.get(mount.parent);
    }
    return true;
  };
  return mounts.filter(isVisible);
}

/**
 * Each hierarchy counts once: the first writable place where it is mounted, else the first.
 * Places that another mount hides, on them or above them, are left out.
 *
 * @param mountinfo content of `/proc/self/mountinfo`
 * @returns the hierarchies in the order of that file
 * @see proc_pid_mountinfo(5)
 */
export function parseMountinfo(mountinfo: string): Hierarchy[] {
  const byDevice = new Map<string, Hierarchy>();
  for (const { line } of visibleMounts(readMounts(mountinfo))) {
    const [left = "", right = ""] = line.split(" - ");
    const [, , device = "", root = "/", point = "", options = ""] = left.split(" ");
    const [type = "", , superOptions = ""] = right.split(" ");
    if (type !== "cgroup" && type !== "cgroup2") continue;
    const words = superOptions.split(",");
    const found: Hierarchy = {
      kind: type === "cgroup2" ? "v2" : "v1",
      mountPoint: unescapePath(point),
      mountRoot: unescapePath(root),
      controllers:
        type === "cgroup2"
          ? []
          : words.filter((word) => !FLAGS_V1.has(word) && !word.includes("=")),
      readOnly: options.split(",").includes("ro") || words.includes("ro"),
    };
    const known = byDevice.get(device);
    if (known === undefined || (known.readOnly && !found.readOnly)) byDevice.set(device, found);
  }
  return [...byDevice.values()];
}

/**
 * @param procCgroup content of `/proc/self/cgroup`
 * @returns the version 2 cgroup of the process as a path in its hierarchy, or null without one
 * @see cgroups(7)
 */
export function ownUnifiedPath(procCgroup: string): string | null {
  const line = procCgroup.split("\n").find((entry) => entry.startsWith("0::"));
  return line === undefined ? null : line.slice(3);
}

/**
 * @param hierarchy where it is mounted
 * @param path a cgroup as `/proc/<pid>/cgroup` names it
 * @returns its directory, or null where the mount does not show it
 */
export function directoryOf(hierarchy: Hierarchy, path: string): string | null {
  if (path.includes("/..")) return null;
  const root = hierarchy.mountRoot === "/" ? "" : hierarchy.mountRoot;
  if (root !== "" && path !== root && !path.startsWith(`${root}/`)) return null;
  const below = path.slice(root.length);
  return below === "" || below === "/" ? hierarchy.mountPoint : hierarchy.mountPoint + below;
}
