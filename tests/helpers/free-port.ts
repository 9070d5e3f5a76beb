/** Ports for programs that want a number; what can take port 0 should. */

import { readFileSync } from "node:fs";
import { createServer } from "node:net";

/** Tries of `freePorts` before it gives up. */
const TRIES_MAX = 100;

/** Below it are ports that programs of this machine may be known by. */
const LOWEST_PORT = 10_000;

/**
 * The kernel gives connections a port of its range for their own end, also while the one that is to
 * listen there is just being started again; nobody can listen on it then until a minute after the
 * connection is over.
 * @returns the first port of that range
 */
function firstEphemeralPort(): number {
  const range = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
  return Number(/^\d+/.exec(range)?.[0]);
}

/** Listens on a port for a moment. */
function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer().once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });
}

/**
 * @param count how many ports in a row
 * @returns the first of `count` consecutive TCP ports of loopback that were free a moment ago and
 *   that no connection takes by chance
 */
export async function freePorts(count = 1): Promise<number> {
  const choices = firstEphemeralPort() - LOWEST_PORT - count;
  if (choices <= 0) throw new Error("Cannot find free ports: connections may take any of them");
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const first = LOWEST_PORT + Math.floor(Math.random() * choices);
    const all = await Promise.all(Array.from({ length: count }, (_, at) => isFree(first + at)));
    if (!all.includes(false)) return first;
  }
  throw new Error(`Cannot find ${count} free ports in a row after ${TRIES_MAX} tries`);
}
