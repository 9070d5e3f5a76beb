/** Talking to workers over HTTP, as their callers do. */

import { errnoNameOf } from "../common/errors.ts";
import { PING_TIMEOUT_MS } from "../common/limits.ts";
import type { WorkerStats } from "../lambda/contract.ts";

/** Where a worker listens, from its settings. */
export interface WorkerAddress {
  readonly bind: string;
  readonly port: number;
}

/** Addresses that mean "every one of this machine", and where to reach them from here. */
const REACHED_AT: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** What people call this machine. */
const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

/**
 * @param address of a worker
 * @returns the start of its URLs, to be called
 */
export function workerUrl(address: WorkerAddress): string {
  const host = REACHED_AT[address.bind] ?? address.bind;
  return `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`;
}

/**
 * @param address of a worker
 * @returns the start of its URLs, to be read: `http://localhost:8080`
 */
export function shownUrl(address: WorkerAddress): string {
  const host = REACHED_AT[address.bind] ?? address.bind;
  return LOOPBACK.has(host) ? `http://localhost:${address.port}` : workerUrl(address);
}

/** What a worker said, or why it did not. */
export type Ping =
  | { readonly answered: true; readonly status: number; readonly text: string }
  | { readonly answered: false; readonly reason: string };

/** Longest answer of `/status` that is shown, in characters. */
const PING_TEXT_MAX_CHARS = 200;

/**
 * @param address of a worker
 * @param timeoutMs how long it may take, in milliseconds
 * @returns its answer to `/status`; never rejects
 */
export async function pingWorker(
  address: WorkerAddress,
  timeoutMs: number = PING_TIMEOUT_MS,
): Promise<Ping> {
  try {
    const response = await fetch(`${workerUrl(address)}/status`, {
      signal: AbortSignal.timeout(timeoutMs),
      redirect: "manual",
      keepalive: false,
    });
    const text = (await response.text()).trim().slice(0, PING_TEXT_MAX_CHARS);
    return { answered: true, status: response.status, text };
  } catch (error) {
    return { answered: false, reason: describeFetchError(error, timeoutMs) };
  }
}

/** Whether it is what `/stats` answers, as far as a program of another version can tell. */
function areStats(value: unknown): value is WorkerStats {
  const stats = value as Partial<WorkerStats> | null;
  const groups = [stats?.calls, stats?.caches, stats?.sandboxes, stats?.memory, stats?.zygotes];
  return (
    typeof stats?.uptimeMs === "number" &&
    groups.every((group) => typeof group === "object" && group !== null)
  );
}

/**
 * @param address of a worker
 * @param timeoutMs how long it may take, in milliseconds
 * @returns its figures; null where it does not answer with any; never rejects
 */
export async function fetchStats(
  address: WorkerAddress,
  timeoutMs: number = PING_TIMEOUT_MS,
): Promise<WorkerStats | null> {
  try {
    const response = await fetch(`${workerUrl(address)}/stats`, {
      signal: AbortSignal.timeout(timeoutMs),
      redirect: "manual",
      keepalive: false,
    });
    const stats: unknown = await response.json();
    return areStats(stats) ? stats : null;
  } catch {
    return null;
  }
}

/**
 * @param error what `fetch` rejected with
 * @param timeoutMs the time it was given, in milliseconds
 * @returns a few words for a person
 */
export function describeFetchError(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === "TimeoutError") {
    return `no answer within ${timeoutMs} ms`;
  }
  const code = errnoNameOf(error);
  if (code === "ConnectionRefused" || code === "ECONNREFUSED") return "connection refused";
  if (code === "ECONNRESET" || code === "ConnectionClosed") return "connection closed";
  return error instanceof Error ? error.message : String(error);
}
