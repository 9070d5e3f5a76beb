/** User ids of containers: each living one has its own. */

import { assert } from "../../common/assert.ts";
import { OlError } from "../../common/errors.ts";
import { ENGINE_SLOTS } from "../../common/limits.ts";
import { DOCKER_UID_FIRST, DOCKER_UIDS_PER_WORKER } from "../../common/docker-limits.ts";

/** Hands out the ids of one worker. */
export class UidRange {
  readonly #first: number;
  readonly #free: number[] = [];
  #next = 0;

  /** @param slot of the worker, from 0: no two live workers have the same, so ranges never overlap */
  constructor(slot: number) {
    assert(slot >= 0 && slot < ENGINE_SLOTS, "a worker has a slot");
    this.#first = DOCKER_UID_FIRST + slot * DOCKER_UIDS_PER_WORKER;
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
