/** How `ol status` looks: pure functions from a report to text. */

import type { WorkerStats, ZygoteStats } from "../lambda/contract.ts";
import type { StatusReport, WorkerReport } from "./status-report.ts";

const MIB = 1024 * 1024;

const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`;

const pad = (number: number): string => String(number).padStart(2, "0");

/** `12s`, `3m10s`, `5h02m`, `9d04h`: two units are enough. */
function age(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${pad(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h${pad(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d${pad(hours % 24)}h`;
}

/** Hits of all that asked: `95% of 1200`; nobody asked: `-`. */
function share({ hits, misses }: { readonly hits: number; readonly misses: number }): string {
  const all = hits + misses;
  return all === 0 ? "-" : `${Math.floor((100 * hits) / all)}% of ${all}`;
}

const COLUMNS = [
  "worker",
  "up",
  "lambdas",
  "live/busy/paused",
  "calls",
  "running+queued",
  "sandbox memory",
  "own memory",
  "warm",
  "zygote",
  "installed",
];

function rowOf(name: string, stats: WorkerStats, callsPerSec: number | null): string[] {
  const { calls, sandboxes, memory, caches } = stats;
  const rate = callsPerSec === null ? "" : ` (${callsPerSec.toFixed(0)}/s)`;
  return [
    name,
    age(stats.uptimeMs),
    String(stats.lambdas),
    `${sandboxes.live}/${sandboxes.busy}/${sandboxes.paused}`,
    `${calls.total}${rate}`,
    `${calls.inFlight}+${calls.queued}`,
    `${mib(memory.reservedBytes)} of ${mib(memory.poolBytes)}`,
    mib(memory.workerRssBytes),
    share(caches.handler),
    share(caches.import),
    share(caches.install),
  ];
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = COLUMNS.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = rows.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "),
  );
  return lines.map((line) => `  ${line.trimEnd()}\n`).join("");
}

/** Modules of one zygote that are named; generated code comes in dozens. */
const MODULES_SHOWN_MAX = 6;

function modulesOf({ imports }: ZygoteStats): string {
  const left = imports.length - MODULES_SHOWN_MAX;
  return imports.slice(0, MODULES_SHOWN_MAX).join(" ") + (left > 0 ? ` and ${left} more` : "");
}

/** One worker's zygotes, children below their parents. */
function tree(zygotes: readonly ZygoteStats[]): string {
  const ids = new Set(zygotes.map(({ id }) => id));
  const below = (parent: string | null, depth: number): string =>
    zygotes
      // A zygote whose parent is not listed (the root) begins a tree of its own.
      .filter((it) =>
        parent === null ? it.parent === null || !ids.has(it.parent) : it.parent === parent,
      )
      .map((it) => {
        const about =
          `${it.hits} hits, ${mib(it.memoryBytes)}, imports ${(it.importUs / 1000).toFixed(0)} ms, ` +
          `${it.liveSandboxes} live`;
        const line = `${"  ".repeat(depth)}${modulesOf(it)}: ${about}\n`;
        return line + below(it.id, depth + 1);
      })
      .join("");
  return below(null, 2);
}

/** Calls per second of each worker between two reports; null where that cannot be said. */
function rateOf(now: WorkerReport, before: StatusReport | null): number | null {
  const old = before?.workers.find((it) => it.worker === now.worker && it.pid === now.pid)?.stats;
  if (old === null || old === undefined || now.stats === null) return null;
  const seconds = (now.stats.uptimeMs - old.uptimeMs) / 1000;
  return seconds > 0 ? Math.max(0, now.stats.calls.total - old.calls.total) / seconds : null;
}

function sections(report: StatusReport, before: StatusReport | null): string {
  const rows = report.workers.flatMap((it) =>
    it.stats === null ? [] : [rowOf(it.worker, it.stats, rateOf(it, before))],
  );
  let text = rows.length === 0 ? "" : `\nWorkers:\n${table([COLUMNS, ...rows])}`;
  const cached = report.workers.filter((it) => (it.stats?.zygotes.length ?? 0) > 0);
  if (cached.length > 0) text += "\nImport cache:\n";
  for (const { worker, stats } of cached) text += `  ${worker}\n${tree(stats?.zygotes ?? [])}`;
  return text;
}

/**
 * The first two sections are upstream's, line by line, for scripts that read them; what is new
 * comes below.
 * @param report how it is now
 * @param before an earlier report, for rates; null: none
 * @returns text for people
 */
export function renderStatus(report: StatusReport, before: StatusReport | null): string {
  const { workers, docker } = report;
  let text = "Worker Pings:\n";
  for (const { url, answer } of workers) text += `  ${url} => ${answer}\n`;
  if (workers.length === 0) text += "  (no worker was started)\n";
  text += "\nCluster containers:\n";
  for (const { id, name, role, lambda, status } of docker.containers) {
    text += `  ${id.slice(0, 12)} ${name} ${role} ${lambda} => ${status}\n`;
  }
  if (docker.reason !== null) text += `  (${docker.reason})\n`;
  else if (docker.containers.length === 0) text += "  (none)\n";
  const { registry } = report;
  if (registry !== null) text += `\nRegistry:\n  ${registry.url} => ${registry.answer}\n`;
  return text + sections(report, before);
}

/**
 * @param text lines of a screen
 * @param rows height of the terminal
 * @param columns width of the terminal
 * @returns what draws them over what is there, without flicker: lines are cut, not wrapped
 */
export function renderScreen(text: string, rows: number, columns: number): string {
  const lines = text
    .trimEnd()
    .split("\n")
    .slice(0, Math.max(1, rows - 1));
  return `\u001b[H${lines.map((line) => `${line.slice(0, columns)}\u001b[K\n`).join("")}\u001b[J`;
}
