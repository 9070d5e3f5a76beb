/** Finds out why a container ended, in the words of the contract. */

import { constants } from "node:os";
import type Docker from "dockerode";
import { dockerStatus } from "../../base/docker-error.ts";
import { OlError } from "../../common/errors.ts";
import {
  DOCKER_EXIT_TIMEOUT_MS,
  DOCKER_KILL_TIMEOUT_MS,
  DOCKER_OOM_LOOKS_MAX,
  DOCKER_OOM_LOOK_INTERVAL_MS,
} from "../../common/docker-limits.ts";

const SIGKILL_STATUS = 128 + constants.signals.SIGKILL;

/**
 * @param container one whose guest has hung up
 * @returns sandbox_out_of_memory or sandbox_died, saying how; never throws
 */
export async function explainExit(container: Docker.Container): Promise<OlError> {
  try {
    const status = await waitForExit(container);
    if (status === null) return died("closed its connection without ending; it was killed");
    if (status === SIGKILL_STATUS && (await ranOutOfMemory(container))) return outOfMemory();
    if (status > 128 && status < 160) return died(`was ended by ${signalName(status - 128)}`);
    return died(`exited with status ${status}`);
  } catch (cause) {
    const words =
      dockerStatus(cause) === 404 ? "was removed by somebody else" : "ended, Docker cannot say why";
    return died(words, cause);
  }
}

/** @returns the error of a sandbox that was ended for want of memory */
function outOfMemory(): OlError {
  return new OlError(
    "sandbox_out_of_memory",
    "The lambda needed more memory than its limit (limits.mem_mb) and was ended",
  );
}

function died(words: string, cause?: unknown): OlError {
  const options = cause === undefined ? {} : { cause };
  return new OlError("sandbox_died", `The lambda's process ${words}`, options);
}

/** @returns its exit status, or null where it goes on */
async function waitForExit(container: Docker.Container): Promise<number | null> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), DOCKER_EXIT_TIMEOUT_MS);
  try {
    const answer: unknown = await container.wait({ abortSignal: abort.signal });
    const status = (answer as { StatusCode?: unknown } | null)?.StatusCode;
    return typeof status === "number" ? status : null;
  } catch (cause) {
    if (abort.signal.aborted) return null;
    throw cause;
  } finally {
    clearTimeout(timer);
  }
}

/** Docker learns of an out-of-memory kill and of the exit on two ways, and the exit may be first. */
async function ranOutOfMemory(container: Docker.Container): Promise<boolean> {
  const abortSignal = AbortSignal.timeout(DOCKER_KILL_TIMEOUT_MS);
  for (let look = 0; look < DOCKER_OOM_LOOKS_MAX; look += 1) {
    const { State } = await container.inspect({ abortSignal });
    if (State.OOMKilled) return true;
    await Bun.sleep(DOCKER_OOM_LOOK_INTERVAL_MS);
  }
  return false;
}

function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `signal ${number}`;
}
