/** User ids of containers: each living one has its own. */

import { assert } from "../../common/assert.ts";
import { OlError } from "../../common/errors.ts";
import { DOCKER_UID_FIRST, DOCKER_UIDS_PER_WORKER } from "../../common/docker-limits.ts";

/** Hands out the ids of one worker. */
export class UidRange {
  readonly #first: number;
  readonly #free: number[] = [];
  #next = 0;

  /** @param port of the worker: one worker per port, so ranges of live workers never overlap */
  constructor(port: number) {
    assert(port > 0 && port < 65_536, "a worker has a port");
    this.#first = DOCKER_UID_FIRST + port * DOCKER_UIDS_PER_WORKER;
  }

  /**
   * @returns an id that no living container of this worker has
   * @throws {OlError} pool_exhausted
   */
  take(): number {
    const freed = this.#free.shift();
    if (freed !== undefined) return freed;
    if (this.#next >= DOCKER_UIDS_PER_WORKER) {
      throw new OlError(
        "pool_exhausted",
        `Cannot have more than ${DOCKER_UIDS_PER_WORKER} sandboxes`,
        {
          retryable: true,
        },
      );
    }
    this.#next += 1;
    return this.#first + this.#next - 1;
  }

  /** @param uid one that `take` gave and whose container is gone */
  give(uid: number): void {
    this.#free.push(uid);
  }
}
