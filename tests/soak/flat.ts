/** What a worker holds while nothing runs, and whether that grew over a run. */

import { readdirSync, readFileSync } from "node:fs";

import { leakSnapshot } from "../helpers/leaks.ts";
import { waitFor } from "../helpers/wait-for.ts";
import type { TestWorker } from "../helpers/worker.ts";
import { processesBelow } from "../helpers/worker-processes.ts";

/** One look at a worker at rest. */
export interface Sample {
  readonly rssMb: number;
  /** Descriptors of the worker without those of its sandboxes. */
  readonly descriptors: number;
  /** Processes below the worker without those of its sandboxes. */
  readonly processes: number;
  /** Cgroups of the worker without those of its sandboxes. */
  readonly cgroups: number;
  /** Mounts of the host. */
  readonly mounts: number;
  /** Descriptors of the root zygote without one network namespace per sandbox. */
  readonly zygoteDescriptors: number;
  readonly live: number;
}

/** What an idle sandbox takes of the worker: its socket and two output files. */
const DESCRIPTORS_PER_SANDBOX = 3;

/** The first rounds fill caches and stocks. */
const WARM_UP_ROUNDS = 3;

const countFds = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** Cgroups of the engine slot that the worker's processes are in; one of all hierarchies counts once. */
function cgroupsOf(pids: readonly number[]): number {
  const slots = new Set<string>();
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/cgroup`, "utf8");
    const slot = /\/(openlambda-\d+)\//.exec(text)?.[1];
    if (slot !== undefined) slots.add(slot);
  }
  const names = new Set<string>();
  for (const id of leakSnapshot().traces.keys()) {
    const [, slot = "", name] = /^cgroup .*\/(openlambda-\d+)\/([^/]+)$/.exec(id) ?? [];
    if (name !== undefined && slots.has(slot)) names.add(name);
  }
  return names.size;
}

/**
 * @param worker nobody calls it any more
 * @returns what it holds once every sandbox is paused
 */
export async function sample(worker: TestWorker): Promise<Sample> {
  await waitFor(
    async () => {
      const { calls, sandboxes } = await worker.stats();
      return calls.inFlight === 0 && sandboxes.busy === 0 && sandboxes.paused === sandboxes.live;
    },
    "nothing runs",
    30_000,
  );
  const pid = worker.pid();
  const below = processesBelow(pid);
  const { memory, sandboxes } = await worker.stats();
  const root = below.find(({ role }) => role === "zygote");
  const own = below.filter(({ role }) => role !== "handler" && role !== "spare");
  const cgroups = cgroupsOf(below.map((one) => one.pid));
  if (below.length > 0 && cgroups === 0) throw new Error("the worker's cgroups cannot be found");
  return {
    rssMb: Math.round(memory.workerRssBytes / 2 ** 20),
    descriptors: countFds(pid) - sandboxes.live * DESCRIPTORS_PER_SANDBOX,
    processes: own.length,
    cgroups: cgroups - sandboxes.live,
    mounts: readFileSync("/proc/self/mounts", "utf8").split("\n").length,
    zygoteDescriptors: root === undefined ? 0 : countFds(root.pid),
    live: sandboxes.live,
  };
}

/** By how much the median of the last third may exceed that of the first after the warm-up. */
const GROWTH_MAX: Readonly<Record<Exclude<keyof Sample, "live">, number>> = {
  rssMb: 24,
  // Spares and output files in stock come and go.
  descriptors: 60,
  processes: 6,
  cgroups: 24,
  mounts: 0,
  // Network namespaces that ended sandboxes left are kept for others.
  zygoteDescriptors: 32,
};

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/**
 * @param samples one per round
 * @returns what grew, in words; empty where nothing did
 */
export function growth(samples: readonly Sample[]): string[] {
  const settled = samples.slice(Math.min(WARM_UP_ROUNDS, samples.length - 1));
  const third = Math.max(1, Math.floor(settled.length / 3));
  const found: string[] = [];
  for (const key of Object.keys(GROWTH_MAX) as (keyof typeof GROWTH_MAX)[]) {
    const first = median(settled.slice(0, third).map((one) => one[key]));
    const last = median(settled.slice(-third).map((one) => one[key]));
    if (last - first > GROWTH_MAX[key]) found.push(`${key} grew from ${first} to ${last}`);
  }
  return found;
}
