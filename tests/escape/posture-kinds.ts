/**
 * The kinds of processes whose posture is compared, and what the engines' tables have in common. Each engine says
 * of every kind what it must look like, or why it has none.
 */

import { NAMESPACES, type ProcessView } from "./process-view.ts";

const MIB = 1024 * 1024;
/** `limits` of the worker under test. */
export const LIMITS = { mem_mb: 128, procs: 40, cpu_percent: 100, runtime_sec: 30, scratch_mb: 64 };

/** Bounds of a handler's process, `soft hard`. */
export const HANDLER_LIMITS = {
  "core file size": "1 1",
  "file size": `${LIMITS.scratch_mb * MIB} ${LIMITS.scratch_mb * MIB}`,
  processes: `${LIMITS.procs + 8} ${LIMITS.procs + 8}`,
  "open files": "1024 1024",
  "locked memory": "65536 65536",
  "pending signals": "1024 1024",
  "msgqueue size": "0 0",
  "nice priority": "0 0",
  "realtime priority": "0 0",
};

/** Of anything that is not trusted. */
export const NO_CAPABILITIES = {
  CapInh: "0000000000000000",
  CapPrm: "0000000000000000",
  CapEff: "0000000000000000",
  CapBnd: "0000000000000000",
  CapAmb: "0000000000000000",
};

const WORKER_KINDS = ["worker", "waiter", "zygote", "spare", "handler"] as const;

/** The processes of one worker. */
export type WorkerProcesses = Readonly<Record<(typeof WORKER_KINDS)[number], ProcessView>>;

/** All kinds: those of one worker, what its import cache adds, and what installs packages. */
export const POSTURE_KINDS = [
  ...WORKER_KINDS,
  "importCacheZygote",
  "handlerOfImportCache",
  "installer",
] as const;

/** @returns namespaces in which two processes differ. */
export function apart(a: ProcessView, b: ProcessView): string[] {
  return NAMESPACES.filter((kind) => a.namespaces[kind] !== b.namespaces[kind]);
}

/** @returns last component of the cgroup that it shares with nobody outside, the same for all controllers. */
export function cgroupOf(
  view: ProcessView,
  worker: ProcessView,
): { name: string; controllers: string[] } {
  const outer = new Map(worker.cgroups);
  const own = view.cgroups.filter(([controllers, path]) => outer.get(controllers) !== path);
  const names = new Set(own.map(([, path]) => path.split("/").slice(-2).join("/")));
  const [name = ""] = names;
  if (names.size !== 1) throw new Error(`one cgroup was wanted: ${[...names].join(", ")}`);
  return { name, controllers: own.flatMap(([controllers]) => controllers.split(",")) };
}
