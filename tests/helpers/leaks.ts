/**
 * What a test may leave behind on the host: mounts, cgroups, network namespaces, processes,
 * descriptors of its own. Compared before and after, everything new is a leak.
 *
 * Other programs run on the same machine, so a comparison can be narrowed to what carries a mark,
 * such as the cluster directory: it is looked for in paths, command lines, environments, working
 * directories and in each process's own mount table (a handler shows its code directory there).
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

import { waitFor } from "./wait-for.ts";

/** One thing that exists on the host. */
interface Trace {
  /** Identity: two snapshots name the same thing the same way. */
  readonly id: string;
  /** Text in which marks are looked for. */
  readonly text: string;
}

/** What existed at one moment. */
export interface LeakSnapshot {
  readonly traces: ReadonlyMap<string, Trace>;
}

/** How to compare. */
export interface LeakOptions {
  /** Counts only what carries one of these texts; empty: everything new. Own descriptors always count. */
  readonly marks?: readonly string[];
  /**
   * Start of the names of cgroups that count too, once nothing runs in them or below: their paths
   * carry no mark, and those of another program that still works are none of our business.
   */
  readonly deadCgroups?: string;
  /** Milliseconds for the kernel to finish tearing things down, default 5 s. */
  readonly settleMs?: number;
}

const DEFAULT_SETTLE_MS = 5_000;

/** A process may end while it is read. */
function quietly<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

const text = (path: string): string => quietly(() => readFileSync(path, "utf8"), "");
const link = (path: string): string => quietly(() => readlinkSync(path), "");

/** Mounts of our mount namespace; the mount id is left out, it changes on a remount. */
function mountTraces(): Trace[] {
  return text("/proc/self/mountinfo")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const fields = line.split(" ");
      return { id: `mount ${fields[4] ?? ""} (${fields[2] ?? ""}${fields[3] ?? ""})`, text: line };
    });
}

/** Directories below a cgroup mount. */
function cgroupsBelow(dir: string): string[] {
  return quietly(() => readdirSync(dir, { withFileTypes: true }), [])
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => {
      const path = join(dir, entry.name);
      return [path, ...cgroupsBelow(path)];
    });
}

/** Every cgroup of every mounted hierarchy. */
function cgroupTraces(): Trace[] {
  return text("/proc/self/mounts")
    .split("\n")
    .map((line) => line.split(" "))
    .filter((fields) => fields[2] === "cgroup" || fields[2] === "cgroup2")
    .flatMap((fields) => cgroupsBelow(fields[1] ?? ""))
    .map((path) => ({ id: `cgroup ${path}`, text: path }));
}

/** Whether a process is in a cgroup or below it. */
function isPopulated(dir: string): boolean {
  return [dir, ...cgroupsBelow(dir)].some((path) => text(join(path, "cgroup.procs")) !== "");
}

/** Whether the topmost cgroup of that name on a path has no process any more. */
function isDeadCgroup(id: string, name: string): boolean {
  const match = new RegExp(`^cgroup (.*?/${name}[^/]*)`).exec(id);
  return match?.[1] !== undefined && !isPopulated(match[1]);
}

/** Longest command line in a report. */
const NAME_MAX_CHARS = 120;

/** One process, or null for kernel threads and those that just ended. */
function processTrace(pid: string): Trace | null {
  const stat = text(`/proc/${pid}/stat`);
  // The name is in parentheses and may itself hold spaces: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state = "", parent = ""] = fields;
  if (stat === "" || state === "Z" || state === "X" || parent === "2" || pid === "2") return null;
  const dir = `/proc/${pid}`;
  const commandLine = text(join(dir, "cmdline")).replaceAll("\0", " ").trim();
  const name = commandLine === "" ? text(join(dir, "comm")).trim() : commandLine;
  const shown = name.replaceAll(/\s+/g, " ").slice(0, NAME_MAX_CHARS);
  // Start time tells a process from a later one with the same number.
  return {
    id: `process ${pid} started ${fields[19] ?? ""}: ${shown}`,
    text: [
      name,
      link(join(dir, "exe")),
      link(join(dir, "cwd")),
      text(join(dir, "environ")),
      text(join(dir, "cgroup")),
      text(join(dir, "mountinfo")),
    ].join("\n"),
  };
}

/** Processes, and network namespaces by the processes that are in them. */
function processTraces(): Trace[] {
  const traces: Trace[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const trace = processTrace(pid);
    if (trace === null || pid === String(process.pid)) continue;
    traces.push(trace);
    const network = link(`/proc/${pid}/ns/net`);
    if (network !== "") traces.push({ id: `network namespace ${network}`, text: trace.text });
  }
  return traces;
}

/**
 * Bun opens these for event loops of its own (each first spawnSync, for one) and keeps them, and for standard
 * streams of what it spawns, until it collects garbage.
 */
const RUNTIME_DESCRIPTOR =
  /^(anon_inode:\[(eventpoll|eventfd)\]|\/memfd:spawn_stdio_\w+ \(deleted\))$/;

/** Descriptors of this process, by what they refer to and how many of each there are. */
function descriptorTraces(): Trace[] {
  const counts = new Map<string, number>();
  for (const fd of quietly(() => readdirSync("/proc/self/fd"), [])) {
    // Numbers of sockets and pipes differ each time; their count is what a leak changes.
    const target = link(`/proc/self/fd/${fd}`).replace(/\[\d+\]/, "");
    if (target !== "" && !target.startsWith("/proc/") && !RUNTIME_DESCRIPTOR.test(target)) {
      counts.set(target, (counts.get(target) ?? 0) + 1);
    }
  }
  return [...counts].flatMap(([target, count]) =>
    Array.from({ length: count }, (_, index) => ({
      id: `descriptor ${target} #${index + 1}`,
      text: target,
    })),
  );
}

/** @returns mounts, cgroups, network namespaces, processes and own descriptors as they are now */
export function leakSnapshot(): LeakSnapshot {
  const all = [...mountTraces(), ...cgroupTraces(), ...processTraces(), ...descriptorTraces()];
  return { traces: new Map(all.map((trace) => [trace.id, trace])) };
}

/**
 * @param before snapshot from before the work
 * @param options marks narrow it down
 * @returns what is there now and was not then, one readable line each
 */
export function leaksSince(before: LeakSnapshot, options: LeakOptions = {}): string[] {
  const marks = options.marks ?? [];
  const { deadCgroups } = options;
  const carriesMark = ({ id, text: where }: Trace): boolean =>
    marks.length === 0 ||
    id.startsWith("descriptor ") ||
    marks.some((mark) => where.includes(mark) || id.includes(mark)) ||
    (deadCgroups !== undefined && isDeadCgroup(id, deadCgroups));
  return [...leakSnapshot().traces.values()]
    .filter((trace) => !before.traces.has(trace.id) && carriesMark(trace))
    .map((trace) => trace.id);
}

/**
 * Waits until nothing is left over.
 * @param before snapshot from before the work
 * @param options marks narrow it down; `settleMs` bounds the wait
 * @throws {Error} that lists what is left
 */
export async function expectNoLeaks(
  before: LeakSnapshot,
  options: LeakOptions = {},
): Promise<void> {
  let left: string[] = [];
  try {
    await waitFor(
      () => {
        left = leaksSince(before, options);
        return left.length === 0;
      },
      "nothing is left over",
      options.settleMs ?? DEFAULT_SETTLE_MS,
    );
  } catch (error) {
    throw new Error(`Left over:\n  ${left.join("\n  ")}`, { cause: error });
  }
}
