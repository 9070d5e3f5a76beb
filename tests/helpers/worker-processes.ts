/** The processes of a worker as /proc shows them, by the part they play. Signals go to exact ids only. */

import { readdirSync, readFileSync } from "node:fs";

/** What a process is to its worker. */
export type Role = "zygote" | "zygote-wait" | "spare" | "handler" | "other";

/** One process of a worker. */
export interface WorkerProcess {
  readonly pid: number;
  readonly parent: number;
  readonly role: Role;
  /** Which lambda's code it sees; null where it has none. */
  readonly lambda: string | null;
  /** Tells it from a later process with the same number. */
  readonly startTime: string;
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function fieldsOf(pid: number): { parent: number; state: string; startTime: string } | null {
  const stat = text(`/proc/${pid}/stat`);
  if (stat === "") return null;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", parent: Number(fields[1]), startTime: fields[19] ?? "" };
}

const CODE_MOUNT = /\/code\/([A-Za-z0-9._-]+)\/[^/ ]+ \/handler /;

function describe(pid: number, parent: number, startTime: string): WorkerProcess {
  const name = text(`/proc/${pid}/comm`).trim();
  const lambda = CODE_MOUNT.exec(text(`/proc/${pid}/mountinfo`))?.[1] ?? null;
  let role: Role = "other";
  if (name === "ol-zygote") role = "zygote";
  else if (name === "ol-zygote-wait") role = "zygote-wait";
  else if (lambda !== null) role = "handler";
  else if (name === "ol-handler") role = "spare";
  return { pid, parent, role, lambda, startTime };
}

/**
 * @param pid of a process
 * @returns its cgroups as /proc shows them, nothing where it has ended
 */
export function cgroupsOf(pid: number): string {
  return text(`/proc/${pid}/cgroup`);
}

/**
 * @param workerPid process id of a worker
 * @returns everything below it, parents first; dead but not yet reaped processes are left out
 */
export function processesBelow(workerPid: number): WorkerProcess[] {
  const children = new Map<number, { pid: number; startTime: string }[]>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    const fields = Number.isInteger(pid) ? fieldsOf(pid) : null;
    if (fields === null || fields.state === "Z" || fields.state === "X") continue;
    const siblings = children.get(fields.parent) ?? [];
    siblings.push({ pid, startTime: fields.startTime });
    children.set(fields.parent, siblings);
  }
  const found: WorkerProcess[] = [];
  const visit = (parent: number): void => {
    for (const { pid, startTime } of children.get(parent) ?? []) {
      found.push(describe(pid, parent, startTime));
      visit(pid);
    }
  };
  visit(workerPid);
  return found;
}

/** @returns whether exactly that process is there and not a zombie */
export function isRunning({ pid, startTime }: WorkerProcess): boolean {
  const fields = fieldsOf(pid);
  return fields !== null && fields.startTime === startTime && fields.state !== "Z";
}

/** Sends a signal to exactly that process; one that is gone already is no error. */
export function signalExactly(target: WorkerProcess, signal: NodeJS.Signals): void {
  if (!isRunning(target)) return;
  try {
    process.kill(target.pid, signal);
  } catch {
    // It ended between the look and the signal.
  }
}
