/** Where a worker listens for the guests of its containers. */

import { createHash } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Short, because a unix socket's path is; found again by the next worker of the same directory. Only
 * root can enter it.
 * @param workerDir absolute `<cluster>/workers/worker-<N>`
 * @returns absolute path of the directory
 */
export function socketDirOf(workerDir: string): string {
  const name = createHash("sha256").update(workerDir).digest("hex").slice(0, 16);
  return join(existsSync("/run") ? "/run" : tmpdir(), `openlambda-${name}`);
}

/**
 * Removes what a worker that is gone left.
 * @param workerDir of that worker
 */
export function removeSocketDir(workerDir: string): void {
  rmSync(socketDirOf(workerDir), { recursive: true, force: true });
}
