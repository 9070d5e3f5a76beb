/**
 * One worker per worker directory. The claim must end with the process however that dies, and must not
 * be one that a lambda or another user can hold in our place, which rules out a pid file (stale after a crash, and two
 * starters race for it) and an abstract socket (anybody may bind its name). A kernel record lock on a
 * file in the cluster's own 0700 directory has neither fault; SQLite, built into Bun, takes one without FFI.
 *
 * `<worker_dir>.lock` is empty and stays; `<worker_dir>.owner` says who holds it. Both lie beside the
 * directory, so that clearing it cannot remove a lock that is held.
 *
 * @see https://www.sqlite.org/lockingv3.html, section 3 (EXCLUSIVE), and man 2 fcntl (F_SETLK)
 */

import { Database } from "bun:sqlite";
import { mkdirSync, readdirSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { COMMAND_WAIT_MAX_MS } from "../common/limits.ts";
import { writeFileAtomic } from "./atomic-file.ts";
import { tryReadIdentity } from "./pid-file.ts";
import {
  formatIdentity,
  isProcessAlive,
  type ProcessIdentity,
  tryIdentifyProcess,
} from "./process-identity.ts";

/** How often a lock that another command holds is tried again, in milliseconds. */
const COMMAND_POLL_INTERVAL_MS = 20;

/** A held claim; the kernel drops it with the process. */
export interface WorkerClaim {
  /** Gives the directory back; idempotent. */
  release(): void;
}

/** A database that is garbage-collected closes its file and drops the lock, so each one is kept here. */
const locked = new Set<Database>();

const lockFileOf = (workerDir: string): string => `${workerDir}.lock`;
const ownerFileOf = (workerDir: string): string => `${workerDir}.owner`;

const cannot = (workerDir: string, what: string, cause?: unknown): OlError =>
  new OlError("worker_start", `Cannot use worker directory ${workerDir}: ${what}`, {
    op: "cluster.claim",
    details: { workerDir },
    cause,
  });

/** @returns the locked database, or null where another process holds the lock */
function tryLock(workerDir: string): Database | null {
  const file = lockFileOf(workerDir);
  let database: Database | undefined;
  try {
    database = new Database(file, { create: true, readwrite: true });
    database.run("PRAGMA busy_timeout = 0");
    database.run("PRAGMA journal_mode = MEMORY");
    database.run("BEGIN EXCLUSIVE");
    locked.add(database);
    return database;
  } catch (error) {
    database?.close();
    if (errnoNameOf(error) === "SQLITE_BUSY") return null;
    const reason = error instanceof Error ? error.message : String(error);
    throw cannot(workerDir, `${file} cannot be locked (${reason})`, error);
  }
}

function unlock(database: Database): void {
  locked.delete(database);
  database.run("ROLLBACK");
  database.close();
}

/**
 * Takes a worker directory for this process, and makes its parent where it is missing.
 * @param workerDir absolute path
 * @returns the claim; it is also given back by the kernel when the process ends
 * @throws {OlError} worker_start where another process has it, or the lock file cannot be made
 */
export function claimWorkerDir(workerDir: string): WorkerClaim {
  try {
    mkdirSync(dirname(workerDir), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw cannot(workerDir, `its parent cannot be made (${errnoNameOf(error) ?? "?"})`, error);
  }
  const database = tryLock(workerDir);
  if (database === null) {
    const owner = tryReadIdentity(ownerFileOf(workerDir));
    const who = owner === null ? "another process" : `process ${owner.pid}`;
    throw cannot(workerDir, `${who} runs a worker in it, stop that one first`);
  }
  const self = tryIdentifyProcess(process.pid);
  let held = true;
  const release = (): void => {
    if (!held) return;
    held = false;
    rmSync(ownerFileOf(workerDir), { force: true });
    unlock(database);
  };
  try {
    if (self !== null) writeFileAtomic(ownerFileOf(workerDir), formatIdentity(self));
  } catch (error) {
    release();
    throw cannot(workerDir, `its owner cannot be written (${errnoNameOf(error) ?? "?"})`, error);
  }
  return { release };
}

/**
 * Who holds a worker directory, found without its pid file.
 * @param workerDir absolute path
 * @returns the process, or null where nobody holds it
 */
export function tryFindClaimOwner(workerDir: string): ProcessIdentity | null {
  const owner = tryReadIdentity(ownerFileOf(workerDir));
  if (owner === null || !isProcessAlive(owner)) return null;
  const database = tryLock(workerDir);
  if (database === null) return owner;
  unlock(database);
  return null;
}

/** Whether this process has that file open although its name is gone. */
function holdsRemoved(path: string): boolean {
  return readdirSync("/proc/self/fd").some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === `${path} (deleted)`;
    } catch {
      return false;
    }
  });
}

/** As `tryLock`, of a file that its holder removes: a lock on one that is gone counts for nothing. */
function tryLockFresh(name: string): Database | null {
  const database = tryLock(name);
  if (
    database === null ||
    !holdsRemoved(lockFileOf(join(realpathSync(dirname(name)), basename(name))))
  ) {
    return database;
  }
  unlock(database);
  return null;
}

/**
 * Makes commands that change a cluster's workers or settings wait for each other, so that none works
 * from what another is about to replace.
 * @param workersDir `<cluster>/workers`
 * @param waitMaxMs how long to wait for the others, in milliseconds
 * @returns the right to change them, until released or the process ends
 * @throws {OlError} cluster_invalid where another command takes too long, worker_start where the lock
 *   file cannot be made
 */
export async function claimCommands(
  workersDir: string,
  waitMaxMs = COMMAND_WAIT_MAX_MS,
): Promise<WorkerClaim> {
  const deadlineMs = performance.now() + waitMaxMs;
  const name = join(workersDir, "commands");
  for (;;) {
    const database = tryLockFresh(name);
    if (database !== null) {
      let isHeld = true;
      const release = (): void => {
        if (!isHeld) return;
        isHeld = false;
        // While it is held: whoever has opened it meanwhile sees that it is not the one of this name.
        rmSync(lockFileOf(name), { force: true });
        unlock(database);
      };
      return { release };
    }
    if (performance.now() >= deadlineMs) {
      throw new OlError(
        "cluster_invalid",
        `Cannot change the cluster of ${workersDir}: another command has been changing it for ` +
          `${Math.round(waitMaxMs / 1000)} s, wait until it has ended`,
        { op: "cluster.claim" },
      );
    }
    await Bun.sleep(COMMAND_POLL_INTERVAL_MS);
  }
}
