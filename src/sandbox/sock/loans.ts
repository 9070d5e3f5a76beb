/**
 * Lending a guest what it needs, and taking that back: its cgroup, killed and emptied, then its user id. A host that
 * refuses (no memory, no descriptors) is asked again until it does not, because what is not given
 * back goes on running and is lost to this worker.
 */

import type { Cgroup, CgroupUsage } from "../../cgroup/contract.ts";
import type { CgroupPool, CgroupShelf, LastWords } from "../../cgroup/pool.ts";
import { RELEASE_RETRY_MS, RELEASE_TRIES_MAX } from "../../common/limits.ts";
import type { UidPool } from "./uid-pool.ts";

/** What one guest was lent. */
export interface Lent {
  readonly cgroup: Cgroup;
  readonly uid: number;
}

/** How it comes back. */
export interface GivingBack {
  /**
   * Who may be lent the cgroup again. Where a zygote that ran third-party code had descriptors of it, with which
   * it could put itself into the cgroup later, these are its own children.
   */
  readonly again: boolean | CgroupShelf;
  /** What is known of the processes in it. */
  readonly last?: LastWords;
  /** Called once, when nothing runs in the cgroup any more; later where the host refuses. */
  readonly onReturned?: () => void;
}

interface Loan extends GivingBack {
  readonly cgroup: Cgroup;
  /** Null where the id went back before. */
  readonly uid: number | null;
  usage: CgroupUsage | null;
  isBeingReturned: boolean;
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
   * @param shelf whose cgroups are taken first
   * @returns a cgroup and an id, to be given back together; neither is taken where this throws
   * @throws {OlError} pool_exhausted; a SyscallError where the host is out of something
   */
  borrow(shelf: CgroupShelf | null = null): Lent {
    const uid = this.#uids.acquire();
    try {
      return { cgroup: this.#cgroups.acquire(shelf), uid };
    } catch (error) {
      this.#uids.release(uid);
      throw error;
    }
  }

  /**
   * Kills what is in a cgroup and gives both back, the id only once the cgroup is empty.
   * @param lent what `borrow` gave
   * @param how whether the cgroup may be lent again, who wants to know
   * @returns whether nothing is left in it now, and what was used
   */
  async giveBack(
    lent: Lent,
    how: GivingBack,
  ): Promise<{ isEmpty: boolean; usage: CgroupUsage | null }> {
    const loan = await this.#owe({ ...lent, ...how, usage: null, isBeingReturned: false });
    return { isEmpty: !this.#owed.has(loan), usage: loan.usage };
  }

  /**
   * Gives a shelf room for more or fewer, and ends what is in those that it holds beyond them: whoever kept a
   * descriptor may have put something there.
   * @param shelf whose
   * @param size how many it keeps
   */
  resize(shelf: CgroupShelf, size: number): void {
    for (const cgroup of this.#cgroups.resize(shelf, size)) {
      void this.#owe({ cgroup, uid: null, again: false, usage: null, isBeingReturned: false });
    }
  }

  async #owe(loan: Loan): Promise<Loan> {
    this.#owed.add(loan);
    await this.#return(loan);
    return loan;
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
      loan.usage = await this.#cgroups.release(loan.cgroup, loan.again, loan.last);
      this.#owed.delete(loan);
      if (loan.uid !== null) this.#uids.release(loan.uid);
      loan.onReturned?.();
    } catch (error) {
      this.#onError(error);
    } finally {
      loan.isBeingReturned = false;
    }
  }
}
