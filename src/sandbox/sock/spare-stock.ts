/** Guests forked ahead of need from one zygote, so that a cold call finds its sandbox enclosed already. */

import { OlError } from "../../common/errors.ts";
import {
  SPARE_BACKOFF_FIRST_MS,
  SPARE_BACKOFF_MAX_MS,
  SPARES_CALM_AFTER_MS,
  ZYGOTE_CGROUPS_MAX_COUNT,
  ZYGOTE_FORK_FAILURES_MAX,
  ZYGOTE_FORK_TIMEOUT_MS,
} from "../../common/zygote-limits.ts";
import type { SandboxLimits } from "../contract.ts";
import { GuestProcess, type GuestParts } from "./guest-process.ts";
import type { Zygote } from "./zygote.ts";

/** How many guests are kept ready: each takes some MB of the machine. */
export interface StockSizes {
  readonly atRest: number;
  /** While some were taken of late. */
  readonly inDemand: number;
  /** How many are on their way there at once. */
  readonly making: number;
}

/** A guest on its way into the stock: settles with it once it is forked, with null where nothing comes of it. */
type Making = PromiseWithResolvers<GuestProcess | null>;

/** Ready guests of one zygote. */
export class SpareStock {
  readonly #zygote: Zygote;
  readonly #parts: GuestParts;
  readonly #limits: SandboxLimits;
  readonly #sizes: StockSizes;
  /** How many are to be there now. */
  #wanted: number;
  #calm: ReturnType<typeof setTimeout> | null = null;
  readonly #nextId: () => string;
  /** Enclosed and idle. */
  readonly #stock: GuestProcess[] = [];
  /** Forked, not heard of yet. */
  readonly #unheard = new Set<GuestProcess>();
  /** Those on their way that nobody has claimed. */
  readonly #making = new Set<Making>();
  readonly #working = new Set<Promise<void>>();
  /** While spares die, nothing is forked ahead of need. */
  #pause: ReturnType<typeof setTimeout> | null = null;
  #pauseMs = SPARE_BACKOFF_FIRST_MS;
  /** Children in a row that ended before they were heard of. */
  #failures = 0;
  #closed = false;

  /**
   * @param zygote parent of all of them
   * @param parts cgroups and ids
   * @param limits with which they are made; a lambda with others gets a fork of its own
   * @param sizes how many are kept
   * @param nextId names them
   */
  constructor(
    zygote: Zygote,
    parts: GuestParts,
    limits: SandboxLimits,
    sizes: StockSizes,
    nextId: () => string,
  ) {
    this.#zygote = zygote;
    this.#parts = parts;
    this.#limits = limits;
    this.#sizes = sizes;
    this.#wanted = sizes.atRest;
    this.#nextId = nextId;
  }

  /**
   * @returns a guest, from stock or freshly requested; the caller assigns or removes it
   * @throws {OlError} sandbox_create, pool_exhausted, syscall
   */
  async take(): Promise<GuestProcess> {
    this.#noteDemand();
    for (let guest = this.#stock.shift(); guest !== undefined; guest = this.#stock.shift()) {
      if (guest.isUsable) {
        this.#pauseMs = SPARE_BACKOFF_FIRST_MS;
        this.refill();
        return guest;
      }
      void guest.remove();
    }
    const guest = (await this.#claim()) ?? (await this.fork(this.#limits));
    this.refill();
    return guest;
  }

  /**
   * Takes one that encloses itself still: a request for another would wait behind it, and both would compete for
   * the CPUs. What our own code forks can be given its lambda meanwhile; a zygote of foreign code may hang.
   */
  async #claim(): Promise<GuestProcess | null> {
    const [making] = this.#making;
    if (making === undefined || !this.#zygote.isTrusted) return null;
    this.#making.delete(making);
    const guest = await making.promise;
    return guest?.isUsable === true ? guest : null;
  }

  /** Whoever was asked once is likely asked again. */
  #noteDemand(): void {
    const { atRest, inDemand } = this.#sizes;
    if (inDemand <= atRest) return;
    if (this.#calm !== null) {
      this.#calm.refresh();
      return;
    }
    this.#wanted = inDemand;
    this.#keepCgroups(ZYGOTE_CGROUPS_MAX_COUNT);
    this.#calm = setTimeout(() => {
      this.#calm = null;
      this.#wanted = atRest;
      for (const guest of this.#stock.splice(atRest)) void guest.remove();
      this.#keepCgroups(0);
    }, SPARES_CALM_AFTER_MS);
    this.#calm.unref();
  }

  #keepCgroups(count: number): void {
    const { loans, shelf } = this.#parts;
    if (shelf !== null) loans.resize(shelf, count);
  }

  /**
   * Forks a guest that was not made ahead of need.
   * @param limits of its cgroup and its scratch space
   * @returns it; enclosed already where foreign code runs in the zygote, which may hang
   * @throws {OlError} sandbox_create, pool_exhausted; a SyscallError where the host is out of something
   */
  async fork(limits: SandboxLimits): Promise<GuestProcess> {
    const guest = await GuestProcess.fork(this.#nextId(), this.#zygote, this.#parts, limits);
    if (this.#zygote.isTrusted || (await this.#isEnclosed(guest))) return guest;
    void guest.remove();
    throw new OlError("sandbox_create", `The zygote ${this.#zygote.id} forked no sandbox`, {
      retryable: true,
    });
  }

  /**
   * Brings the stock back to its size, in the background and few at a time: the calls that took them, and the
   * ends of those before, need the same CPUs.
   */
  refill(): void {
    const { length } = this.#stock;
    const missing = Math.min(this.#wanted - length, this.#sizes.making) - this.#making.size;
    for (let index = 0; index < missing; index++) {
      if (this.#closed || this.#pause !== null || !this.#zygote.isAlive) return;
      const making: Making = Promise.withResolvers();
      const work = this.#make(making).catch((error: unknown) => {
        this.#parts.onError(error);
        this.#refillAfterPause();
      });
      this.#making.add(making);
      this.#working.add(work);
      void work.finally(() => {
        making.resolve(null);
        this.#making.delete(making);
        this.#working.delete(work);
        this.refill();
      });
    }
  }

  /** Removes every guest in stock. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#calm !== null) clearTimeout(this.#calm);
    if (this.#pause !== null) clearTimeout(this.#pause);
    const all = [...this.#stock.splice(0), ...this.#unheard];
    await Promise.all(all.map((guest) => guest.remove()));
    await Promise.all(this.#working);
  }

  async #make(making: Making): Promise<void> {
    const guest = await GuestProcess.fork(this.#nextId(), this.#zygote, this.#parts, this.#limits);
    making.resolve(guest);
    const isClaimed = (): boolean => !this.#making.has(making);
    const isEnclosed = !this.#closed && (isClaimed() || (await this.#isEnclosed(guest)));
    // Whoever claimed it looks after it, whatever has become of it.
    if (isClaimed()) return;
    if (!isEnclosed || this.#closed) {
      await guest.remove();
      this.#refillAfterPause();
      return;
    }
    this.#stock.push(guest);
    void this.#dropAtEnd(guest);
  }

  /** One that ended, or is said to have ended, is nobody's to take. */
  async #dropAtEnd(guest: GuestProcess): Promise<void> {
    await guest.ended;
    const at = this.#stock.indexOf(guest);
    if (at < 0) return;
    this.#stock.splice(at, 1);
    void guest.remove();
    this.#refillAfterPause();
  }

  /** With growing pauses, or a zygote whose spares all die would fork without end. */
  #refillAfterPause(): void {
    if (this.#closed || this.#pause !== null) return;
    this.#pause = setTimeout(() => {
      this.#pause = null;
      this.refill();
    }, this.#pauseMs);
    this.#pause.unref();
    this.#pauseMs = Math.min(this.#pauseMs * 2, SPARE_BACKOFF_MAX_MS);
  }

  /** Whether a child comes about; a zygote of foreign code that hangs or fails again is ended. */
  async #isEnclosed(guest: GuestProcess): Promise<boolean> {
    this.#unheard.add(guest);
    const outcome = await guest.enclosed(ZYGOTE_FORK_TIMEOUT_MS);
    this.#unheard.delete(guest);
    if (outcome === "enclosed") {
      this.#failures = 0;
      return true;
    }
    this.#failures += 1;
    const isBroken = outcome === "silent" || this.#failures >= ZYGOTE_FORK_FAILURES_MAX;
    if (isBroken && !this.#closed && !this.#zygote.isTrusted) this.#zygote.close();
    return false;
  }
}
