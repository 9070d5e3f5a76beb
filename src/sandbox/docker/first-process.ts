/**
 * The first process of a container as the host sees it: the way to end a container past a daemon that
 * hangs or is gone. The kernel ends everything in a pid namespace with its first process.
 */

import { readFileSync, readdirSync } from "node:fs";
import type Docker from "dockerode";
import { dockerStatus } from "../../base/docker-error.ts";
import {
  type ProcessIdentity,
  signalProcess,
  tryIdentifyProcess,
  waitUntilGone,
} from "../../cluster/process-identity.ts";
import { DOCKER_KILL_TIMEOUT_MS } from "../../common/docker-limits.ts";

/** One container's first process, known or to be found. */
export class FirstProcess {
  readonly #uid: number;
  #identity: ProcessIdentity | null = null;

  /** @param uid which no other living container of this machine has */
  constructor(uid: number) {
    this.#uid = uid;
  }

  /** @param pid what Docker says; kept with its start time, so that nobody else is ever killed */
  note(pid: number): void {
    this.#identity = tryIdentifyProcess(pid);
  }

  /**
   * Ends everything in the container. Processes that are frozen end as soon as they are thawed, before
   * they run on.
   * @returns whether nothing of it runs any more
   */
  async kill(): Promise<boolean> {
    const identity = this.#identity ?? findFirstProcess(this.#uid);
    if (identity === null) return true;
    signalProcess(identity, "SIGKILL");
    return await waitUntilGone(identity, DOCKER_KILL_TIMEOUT_MS);
  }
}

/**
 * Kills everything in a container, past the daemon where that does not do it.
 * @param container running or not
 * @param first its first process
 * @returns whether the daemon did it, or said that nothing runs in it
 */
export async function killContainer(
  container: Docker.Container,
  first: FirstProcess,
): Promise<boolean> {
  try {
    await container.kill({ signal: "SIGKILL" });
    return true;
  } catch (cause) {
    const status = dockerStatus(cause);
    if (status === 404 || status === 409) return true;
    await first.kill();
    return false;
  }
}

/** @returns the process of that user that is number 1 in a pid namespace of its own */
function findFirstProcess(uid: number): ProcessIdentity | null {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/u.test(name)) continue;
    let status: string;
    try {
      status = readFileSync(`/proc/${name}/status`, "utf8");
    } catch {
      continue;
    }
    const isFirst = /^NSpid:\t\d+(?:\t\d+)*\t1$/mu.test(status);
    if (isFirst && status.includes(`\nUid:\t${uid}\t`)) return tryIdentifyProcess(Number(name));
  }
  return null;
}
