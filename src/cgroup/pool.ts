/**
 * Cgroups kept in stock, so that making and limiting one is not on the path of a call, and so that the
 * kernel is not left with thousands of dying ones.
 */

import { assert } from "../common/assert.ts";
import { CGROUP_END_WAIT_MS, CGROUP_REUSE_CHARGE_MAX_BYTES } from "../common/limits.ts";
import type { Cgroup, CgroupLimits, CgroupRoot, CgroupUsage } from "./contract.ts";

/** What a borrower knows about the processes in a cgroup. */
export interface LastWords {
  /** Settles when the first process is gone, and all others with it. */
  readonly ended: Promise<unknown>;
  /**
   * Asks for that end, where it can be asked for. A cgroup that is killed instead can block this thread for
   * as long as the kernel waits with its lock of all cgroups while a process joins one: 15 ms and more.
   */
  readonly ask?: () => void;
  /** Told that asking did not help in time: whoever was asked is better not asked again. */
  readonly onIgnored?: () => void;
}

/**
 * Cgroups that go to and fro between the pool and one borrower, whose processes may keep descriptors with which
 * to join them: nobody else gets these any more.
 */
export class CgroupShelf {
  readonly stock: Cgroup[] = [];
  /** How many it keeps; see `CgroupPool.resize`. */
  size = 0;
}

/** Hands out empty cgroups and takes them back. */
export class CgroupPool {
  readonly #root: CgroupRoot;
  readonly #size: number;
  readonly #defaults: CgroupLimits;
  readonly #prefix: string;
  readonly #onError: (error: unknown) => void;
  readonly #stock: Cgroup[] = [];
  readonly #lent = new Set<Cgroup>();
  readonly #releasing = new Set<Promise<unknown>>();
  #made = 0;
  #refill: ReturnType<typeof setImmediate> | null = null;
  #closed = false;

  /**
   * @param root where they lie; reclaimed before
   * @param size how many are kept ready; 0 makes each when it is asked for
   * @param defaults limits that those in stock have
   * @param onError told of a failure in the background, where nobody waits for a result
   * @param prefix start of their names, so that two pools can share a root
   */
  constructor(
    root: CgroupRoot,
    size: number,
    defaults: CgroupLimits,
    onError: (error: unknown) => void,
    prefix = "cg",
  ) {
    assert(Number.isSafeInteger(size) && size >= 0, `pool size ${size} is not a count`);
    this.#root = root;
    this.#size = size;
    this.#defaults = defaults;
    this.#onError = onError;
    this.#prefix = prefix;
    this.#scheduleRefill();
  }

  /** How many are ready now. */
  get ready(): number {
    return this.#stock.length;
  }

  /** How many are lent out now, including those on their way back. */
  get lent(): number {
    return this.#lent.size;
  }

  /**
   * @param shelf looked at first, for the borrower that it belongs to
   * @returns an empty cgroup with the default limits and open join descriptors, from stock or new
   * @throws {SyscallError} syscall when a new one cannot be made
   */
  acquire(shelf: CgroupShelf | null = null): Cgroup {
    assert(!this.#closed, "a closed cgroup pool was asked for a cgroup");
    const cgroup = shelf?.stock.pop() ?? this.#stock.pop() ?? this.#make();
    this.#lent.add(cgroup);
    this.#scheduleRefill();
    return cgroup;
  }

  /**
   * Ends what is left in it and puts it back in stock, or removes it where stock is full or it
   * cannot be made as good as new.
   * @param cgroup one that `acquire` gave out
   * @param again who may borrow it next: anybody, nobody, or those that a shelf belongs to. Somebody hostile may
   *   still hold a descriptor with which to join it
   * @param last what its borrower knows of the processes in it
   * @returns what was used in it; null where that cannot be read
   * @throws {OlError} internal when its processes cannot be ended or it cannot be removed
   */
  release(
    cgroup: Cgroup,
    again: boolean | CgroupShelf = true,
    last?: LastWords,
  ): Promise<CgroupUsage | null> {
    assert(this.#lent.has(cgroup), `cgroup ${cgroup.name} is not lent out`);
    const done = this.#takeBack(cgroup, again, last);
    this.#releasing.add(done);
    const forget = (): boolean => this.#releasing.delete(done);
    done.then(forget, forget);
    return done;
  }

  /**
   * @param shelf of a borrower that needs more or fewer from now on
   * @param size how many it keeps
   * @returns what it holds beyond them, lent to the caller, who releases it again for nobody
   */
  resize(shelf: CgroupShelf, size: number): readonly Cgroup[] {
    shelf.size = size;
    const beyond = shelf.stock.splice(size);
    for (const cgroup of beyond) this.#lent.add(cgroup);
    return beyond;
  }

  /**
   * Waits for cgroups on their way back and removes those in stock. Those still lent out are the
   * borrower's to release first.
   * @throws {OlError} internal when one cannot be removed
   */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#refill !== null) clearImmediate(this.#refill);
    this.#refill = null;
    await Promise.allSettled(this.#releasing);
    const failures: unknown[] = [];
    for (const cgroup of this.#stock.splice(0)) {
      await cgroup.remove().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  async #takeBack(
    cgroup: Cgroup,
    again: boolean | CgroupShelf,
    last: LastWords | undefined,
  ): Promise<CgroupUsage | null> {
    if (last?.ask === undefined || !(await endsWhenAsked(cgroup, last.ask, last))) {
      cgroup.killAll();
      await cgroup.waitEmpty(last?.ended);
    }
    const usage = this.#usageOf(cgroup);
    // Until here it counts as lent: a failure above leaves it visible as a leak, not lost.
    const stock = this.#stockFor(again);
    if (stock !== null && usage !== null && this.#renew(cgroup, usage)) stock.push(cgroup);
    else await cgroup.remove();
    this.#lent.delete(cgroup);
    return usage;
  }

  /** Where it is put; null where it is not wanted. */
  #stockFor(again: boolean | CgroupShelf): Cgroup[] | null {
    if (again === false || this.#closed) return null;
    if (again === true) return this.#stock.length < this.#size ? this.#stock : null;
    return again.stock.length < again.size ? again.stock : null;
  }

  #usageOf(cgroup: Cgroup): CgroupUsage | null {
    try {
      return cgroup.usage();
    } catch (error) {
      this.#onError(error);
      return null;
    }
  }

  /** Makes a used cgroup indistinguishable from a new one; false where that is not possible. */
  #renew(cgroup: Cgroup, usage: CgroupUsage): boolean {
    try {
      if (usage.memoryBytes > CGROUP_REUSE_CHARGE_MAX_BYTES) return false;
      cgroup.setLimits(this.#defaults);
      if (!cgroup.resetUsage(usage)) return false;
      cgroup.openJoinFds();
      return true;
    } catch (error) {
      this.#onError(error);
      return false;
    }
  }

  #make(): Cgroup {
    this.#made += 1;
    const cgroup = this.#root.create(`${this.#prefix}-${this.#made}`);
    try {
      cgroup.setLimits(this.#defaults);
      cgroup.openJoinFds();
    } catch (error) {
      void cgroup.remove().catch(this.#onError);
      throw error;
    }
    return cgroup;
  }

  /**
   * Whether stock is made ahead of need. Only up to half: those that are lent come back, and one that
   * finds the stock full would have been made for nothing (a cgroup costs 0.3 ms to make and to remove).
   */
  #isLow(): boolean {
    return this.#stock.length < Math.ceil(this.#size / 2);
  }

  /** One per turn of the event loop, so that a burst of calls is not held up by the stock. */
  #scheduleRefill(): void {
    if (this.#closed || this.#refill !== null || !this.#isLow()) return;
    this.#refill = setImmediate(() => {
      this.#refill = null;
      if (this.#closed || !this.#isLow()) return;
      try {
        this.#stock.push(this.#make());
        this.#scheduleRefill();
      } catch (error) {
        this.#onError(error);
      }
    });
  }
}

/** Whether nothing is left in it soon after its first process was asked to end. */
async function endsWhenAsked(cgroup: Cgroup, ask: () => void, last: LastWords): Promise<boolean> {
  ask();
  const late = Promise.withResolvers<"late">();
  const timer = setTimeout(() => {
    late.resolve("late");
  }, CGROUP_END_WAIT_MS);
  const outcome = await Promise.race([last.ended, late.promise]);
  clearTimeout(timer);
  const hasEnded = outcome !== "late" && cgroup.isEmpty();
  if (!hasEnded) last.onIgnored?.();
  return hasEnded;
}
