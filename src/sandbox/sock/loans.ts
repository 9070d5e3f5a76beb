/**
 * Lending a guest what it needs, and taking that back: its cgroup, killed and emptied, then its user id. A host that
 * refuses (no memory, no descriptors) is asked again until it does not, because what is not given
 * back goes on running and is lost to this worker.
 */

import type { Cgroup } from "../../cgroup/contract.ts";
import type { CgroupPool } from "../../cgroup/pool.ts";
import { RELEASE_RETRY_MS, RELEASE_TRIES_MAX } from "../../common/limits.ts";
import type { UidPool } from "./uid-pool.ts";

interface Loan {
  readonly cgroup: Cgroup;
  readonly uid: number;
  readonly again: boolean;
  readonly onReturned: () => void;
  isBeingReturned: boolean;
}

/** What one guest was lent. */
export interface Lent {
  readonly cgroup: Cgroup;
  readonly uid: number;
}

/** Lends the cgroups and ids of one engine. */
export class Loans {
  readonly #cgroups: CgroupPool;
  readonly #uids: UidPool;
  readonly #onError: (error: unknown) => void;
  readonly #owed = new Set<Loan>();

  /**
   * @param cgroups where cgroups were acquired
   * @param uids where ids were acquired
   * @param onError told of each refusal
   */
  constructor(cgroups: CgroupPool, uids: UidPool, onError: (error: unknown) => void) {
    this.#cgroups = cgroups;
    this.#uids = uids;
    this.#onError = onError;
  }

  /**
   * @returns a cgroup and an id, to be given back together; neither is taken where this throws
   * @throws {OlError} pool_exhausted; a SyscallError where the host is out of something
   */
  borrow(): Lent {
    const uid = this.#uids.acquire();
    try {
      return { cgroup: this.#cgroups.acquire(), uid };
    } catch (error) {
      this.#uids.release(uid);
      throw error;
    }
  }

  /**
   * Kills what is in a cgroup and gives both back, the id only once the cgroup is empty.
   * @param cgroup acquired and not given back
   * @param uid acquired and not given back
   * @param again whether the cgroup may be lent again: not where a zygote that ran third-party code
   *   had descriptors of it, with which it could put itself into somebody else's cgroup later
   * @param onReturned called once, when nothing runs in the cgroup any more; later where the host refuses
   * @returns whether that is so now
   */
  async giveBack(
    cgroup: Cgroup,
    uid: number,
    again: boolean,
    onReturned: () => void = () => {},
  ): Promise<boolean> {
    const loan = { cgroup, uid, again, onReturned, isBeingReturned: false };
    this.#owed.add(loan);
    await this.#return(loan);
    return !this.#owed.has(loan);
  }

  /** Tries again what the host has refused; for a timer. */
  retry(): void {
    for (const loan of this.#owed) void this.#return(loan);
  }

  /** Tries again for a while; for the end of the engine. */
  async settle(): Promise<void> {
    for (let tries = 1; this.#owed.size > 0 && tries <= RELEASE_TRIES_MAX; tries++) {
      await Promise.all([...this.#owed].map((loan) => this.#return(loan)));
      if (this.#owed.size > 0) await Bun.sleep(RELEASE_RETRY_MS * tries);
    }
  }

  async #return(loan: Loan): Promise<void> {
    if (loan.isBeingReturned) return;
    loan.isBeingReturned = true;
    try {
      await this.#cgroups.release(loan.cgroup, loan.again);
      this.#owed.delete(loan);
      this.#uids.release(loan.uid);
      loan.onReturned();
    } catch (error) {
      this.#onError(error);
    } finally {
      loan.isBeingReturned = false;
    }
  }
}
