/**
 * Replacing a worker without losing a call: both listen on the port, the kernel gives every new
 * connection to the newer one, and the older one ends once its connections are gone. Without that
 * choice the kernel spreads connections, and those that wait to be accepted when the older socket
 * is closed would be reset.
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { preferSecondListener } from "../sys/reuse-port.ts";

/** State of a listening socket in the kernel's tables. */
const LISTEN = "0A";

/** Inodes of sockets that listen on a port, whoever has them. */
function listeningInodes(port: number): Set<string> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const inodes = new Set<string>();
  for (const table of ["tcp", "tcp6"]) {
    for (const line of readFileSync(`/proc/self/net/${table}`, "latin1").split("\n").slice(1)) {
      const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === LISTEN && local.endsWith(suffix) && inode !== undefined) inodes.add(inode);
    }
  }
  return inodes;
}

/** The runtime does not tell which descriptor its server listens on. */
function ownListeners(port: number): number[] {
  const inodes = listeningInodes(port);
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${name}`))?.[1];
      return inode !== undefined && inodes.has(inode) ? [Number(name)] : [];
    } catch {
      // The descriptor of the listing itself.
      return [];
    }
  });
}

/**
 * Has new connections to a port go to whichever worker listened last.
 * @param port on which this process listens, shared
 * @throws {SyscallError} where the kernel does not take the choice
 */
export function preferNewestListener(port: number): void {
  for (const fd of ownListeners(port)) preferSecondListener(fd);
}
