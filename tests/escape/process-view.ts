/** What `/proc/<pid>` says of a process, read from outside and freed of what differs from run to run. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Kinds of namespaces that are looked at. */
export const NAMESPACES = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] as const;

/** A process as the posture test compares it. */
export interface ProcessView {
  readonly pid: number;
  readonly name: string;
  /** Real, effective, saved and file system id. */
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly groups: string;
  readonly capabilities: Readonly<Record<string, string>>;
  readonly noNewPrivileges: string;
  readonly seccomp: string;
  readonly umask: string;
  readonly oomScoreAdjustment: string;
  readonly namespaces: Readonly<Record<string, string>>;
  readonly root: string;
  readonly cwd: string;
  /** Number to what it is. */
  readonly descriptors: Readonly<Record<string, string>>;
  readonly environment: readonly string[];
  /** `soft hard` of the limits that the engine sets, by the kernel's names. */
  readonly limits: Readonly<Record<string, string>>;
  /** `<mount point> <options>` in order of mounting. */
  readonly mounts: readonly string[];
  /** Per line of `/proc/<pid>/cgroup`: controllers and path. */
  readonly cgroups: readonly (readonly [string, string])[];
  readonly idMaps: readonly string[];
}

const MOUNT_FLAGS = ["ro", "rw", "nosuid", "nodev", "noexec"];

function statusOf(pid: number): Map<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, "utf8").split("\n");
  return new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }),
  );
}

function limitsOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/limits`, "utf8").trim().split("\n").slice(1);
  return Object.fromEntries(
    lines.map((line) => {
      const [name = "", soft = "", hard = ""] = line.split(/ {2,}/);
      return [name.replace("Max ", ""), `${soft} ${hard}`];
    }),
  );
}

/** What a descriptor refers to, without numbers and directories. */
const plain = (target: string): string =>
  target
    .replace(/:\[\d+\]$/, "")
    .replace(/^.*\/handlers\/[^/]+\/[^/]+\//, "")
    .replace(/^.*\/worker-0\.out$/, "worker log");

function descriptorsOf(pid: number): Record<string, string> {
  return Object.fromEntries(
    readdirSync(`/proc/${pid}/fd`).map((fd) => [fd, plain(readlinkSync(`/proc/${pid}/fd/${fd}`))]),
  );
}

function mountsOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/mountinfo`, "utf8")
    .trim()
    .split("\n")
    .map((line) => {
      const [, , , , point = "", options = ""] = line.split(" ");
      return `${point} ${options
        .split(",")
        .filter((option) => MOUNT_FLAGS.includes(option))
        .join(",")}`;
    });
}

/**
 * @param pid a living process
 * @returns all of it that the posture test compares
 */
export function viewProcess(pid: number): ProcessView {
  const status = statusOf(pid);
  const text = (name: string): string => status.get(name) ?? "";
  const numbers = (name: string): number[] => text(name).split(/\s+/).map(Number);
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, "utf8");
  const capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
  return {
    pid,
    name: text("Name"),
    uids: numbers("Uid"),
    gids: numbers("Gid"),
    groups: text("Groups"),
    capabilities: Object.fromEntries(capabilities.map((name) => [name, text(name)])),
    noNewPrivileges: text("NoNewPrivs"),
    seccomp: text("Seccomp"),
    umask: text("Umask"),
    oomScoreAdjustment: read("oom_score_adj").trim(),
    namespaces: Object.fromEntries(
      NAMESPACES.map((kind) => [kind, readlinkSync(`/proc/${pid}/ns/${kind}`)]),
    ),
    root: readlinkSync(`/proc/${pid}/root`),
    cwd: readlinkSync(`/proc/${pid}/cwd`),
    descriptors: descriptorsOf(pid),
    environment: read("environ").split("\0").filter(Boolean),
    limits: limitsOf(pid),
    mounts: mountsOf(pid),
    cgroups: read("cgroup")
      .trim()
      .split("\n")
      .map((line) => {
        const [, controllers = "", ...path] = line.split(":");
        return [controllers, path.join(":")] as const;
      }),
    idMaps: ["uid_map", "gid_map", "setgroups"].map((name) =>
      read(name).trim().replaceAll(/\s+/g, " "),
    ),
  };
}

/** Children of each of its threads; none where it is gone: spares come about while others look. */
function childrenOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean),
    );
  } catch {
    return [];
  }
}

/**
 * @param pid a process
 * @returns all processes below it
 */
export function descendants(pid: number): number[] {
  const children = childrenOf(pid);
  return children.map(Number).flatMap((child) => [child, ...descendants(child)]);
}
