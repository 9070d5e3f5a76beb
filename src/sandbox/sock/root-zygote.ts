/**
 * Starts the root zygote of a worker: the executable itself with the hidden argument `__init`
 * enters the base and becomes its python3 (see `init.ts`), with only trusted code inside.
 */

import { closeSync, writeFileSync } from "node:fs";
import type { Cgroup } from "../../cgroup/contract.ts";
import { OlError } from "../../common/errors.ts";
import { UIDS_PER_WORKER } from "../../common/limits.ts";
import { ZYGOTE_START_TIMEOUT_MS } from "../../common/zygote-limits.ts";
import { SOCK_SEQPACKET } from "../../sys/constants.ts";
import { socketPair } from "../../sys/socket.ts";
import type { InitRequest } from "./init.ts";
import { firstHostUid } from "./uid-pool.ts";
import { ROOT_ZYGOTE_ID, Zygote } from "./zygote.ts";

/** What it takes to start one. */
export interface RootZygoteOptions {
  readonly init: Omit<InitRequest, "workerPid">;
  readonly slot: number;
  /** Holds the zygote itself; its children leave it for cgroups of their own. */
  readonly cgroup: Cgroup;
  /** Gets what init and the zygote say when something goes wrong. */
  readonly logFd: number | "inherit";
  /** The executable whose `__init` enters the base; default: this program itself. */
  readonly executable?: string;
}

/** A running root zygote. */
export interface RootZygote {
  readonly zygote: Zygote;
  /** Host process id of its outermost process. */
  readonly pid: number;
  /** Memory that each fork copies at once, in bytes; 0 where the host does not let it pin any; its log says why. */
  readonly pinnedBytes: number;
}

const SELF = "/proc/self/exe";

function spawnInit(options: RootZygoteOptions, theirs: number): Bun.Subprocess {
  const request: InitRequest = { ...options.init, workerPid: process.pid };
  return Bun.spawn([options.executable ?? SELF, "__init", JSON.stringify(request)], {
    argv0: "ol-init",
    env: {},
    cwd: "/",
    stdio: ["ignore", options.logFd, options.logFd, theirs],
  });
}

function mapIds(pid: number, slot: number): void {
  const line = `0 ${firstHostUid(slot)} ${UIDS_PER_WORKER}`;
  writeFileSync(`/proc/${pid}/uid_map`, line);
  writeFileSync(`/proc/${pid}/gid_map`, line);
}

function joinCgroup(cgroup: Cgroup, pid: number): void {
  for (const path of cgroup.joinPaths) writeFileSync(path, String(pid));
}

/**
 * @param options base, port, cgroup
 * @returns the zygote, ready to fork
 * @throws {OlError} sandbox_create where it does not get ready; its own words are in the log
 */
export async function startRootZygote(options: RootZygoteOptions): Promise<RootZygote> {
  const [own, theirs] = socketPair(SOCK_SEQPACKET);
  let child: Bun.Subprocess;
  try {
    child = spawnInit(options, theirs);
  } catch (cause) {
    closeSync(own);
    throw new OlError("sandbox_create", "Cannot start the root zygote: init did not start", {
      cause,
    });
  } finally {
    closeSync(theirs);
  }
  const zygote = await Zygote.open(ROOT_ZYGOTE_ID, own);
  try {
    joinCgroup(options.cgroup, child.pid);
    await zygote.expect("unmapped", ZYGOTE_START_TIMEOUT_MS);
    mapIds(child.pid, options.slot);
    zygote.tellMapped();
    const { pinned = 0 } = await zygote.expect("ready", ZYGOTE_START_TIMEOUT_MS);
    return { zygote, pid: child.pid, pinnedBytes: pinned };
  } catch (cause) {
    zygote.close();
    child.kill("SIGKILL");
    await child.exited;
    throw new OlError(
      "sandbox_create",
      `Cannot start the root zygote: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}
