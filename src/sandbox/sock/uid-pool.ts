/**
 * User ids of one worker. Each sandbox runs under an id that nothing else on the machine has; an id
 * comes back to use as late as possible.
 *
 * | ids inside the root zygote's user namespace | on the host |
 * | --- | --- |
 * | 0 | first: the root zygote itself |
 * | 1 … UIDS_PER_WORKER - 1 | first + that: sandboxes and import-cache zygotes |
 */

import { assert } from "../../common/assert.ts";
import { OlError } from "../../common/errors.ts";
import { ENGINE_SLOTS, UIDS_PER_WORKER } from "../../common/limits.ts";

/**
 * Start of the range that no distribution assigns (`HIGH` in systemd's table); `ENGINE_SLOTS` times
 * `UIDS_PER_WORKER` fill it to 2^31.
 * @see https://systemd.io/UIDS-GIDS/
 */
const RANGE_START = 1_879_048_192;

/**
 * @param slot of the worker: one live worker per slot, so ranges never overlap
 * @returns the first of its `UIDS_PER_WORKER` host ids
 */
export function firstHostUid(slot: number): number {
  assert(slot >= 0 && slot < ENGINE_SLOTS, "a worker has a slot");
  return RANGE_START + slot * UIDS_PER_WORKER;
}

/** Hands out ids as they are inside the root zygote's user namespace. */
export class UidPool {
  readonly #free: number[] = [];
  #next = 1;
  #head = 0;

  /**
   * @returns an id from 1 on
   * @throws {OlError} pool_exhausted when all are in use
   */
  acquire(): number {
    if (this.#next < UIDS_PER_WORKER) return this.#next++;
    const uid = this.#free[this.#head];
    if (uid === undefined) {
      throw new OlError(
        "pool_exhausted",
        `Cannot create a sandbox: ${UIDS_PER_WORKER - 1} are alive, which is this worker's limit`,
        { retryable: true },
      );
    }
    this.#head += 1;
    if (this.#head >= UIDS_PER_WORKER) {
      this.#free.splice(0, this.#head);
      this.#head = 0;
    }
    return uid;
  }

  /** @param uid one that nothing runs under any more */
  release(uid: number): void {
    this.#free.push(uid);
  }
}
