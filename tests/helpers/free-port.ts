/** Ports for programs that want a number; what can take port 0 should. */

import { createServer } from "node:net";

/** Tries of `freePorts` before it gives up. */
const TRIES_MAX = 100;

const PORT_MAX = 65_535;

/** Listens on a port for a moment; 0 lets the kernel choose. */
function tryPort(port: number): Promise<number | null> {
  return new Promise((done) => {
    const server = createServer().once("error", () => done(null));
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      const got = typeof address === "object" && address !== null ? address.port : null;
      server.close(() => done(got));
    });
  });
}

/**
 * @param count how many ports in a row
 * @returns the first of `count` consecutive TCP ports of loopback that were free a moment ago
 */
export async function freePorts(count = 1): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const first = await tryPort(0);
    if (first === null || first + count - 1 > PORT_MAX) continue;
    const rest = Array.from({ length: count - 1 }, (_, offset) => tryPort(first + 1 + offset));
    if (!(await Promise.all(rest)).includes(null)) return first;
  }
  throw new Error(`Cannot find ${count} free ports in a row after ${TRIES_MAX} tries`);
}
