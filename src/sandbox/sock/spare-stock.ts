/** Guests forked ahead of need from one zygote, so that a cold call finds its sandbox enclosed already. */

import { SPARE_REFILL_DELAY_MS } from "../../common/limits.ts";
import type { SandboxLimits } from "../contract.ts";
import { GuestProcess, type GuestParts } from "./guest-process.ts";
import type { Zygote } from "./zygote.ts";

/** Ready guests of one zygote. */
export class SpareStock {
  readonly #zygote: Zygote;
  readonly #parts: GuestParts;
  readonly #limits: SandboxLimits;
  readonly #size: number;
  readonly #nextId: () => string;
  readonly #stock: GuestProcess[] = [];
  readonly #making = new Set<Promise<void>>();
  #later: ReturnType<typeof setTimeout> | null = null;
  #closed = false;

  /**
   * @param zygote parent of all of them
   * @param parts cgroups and ids
   * @param limits with which they are made; a lambda with others gets a fork of its own
   * @param size how many are kept
   * @param nextId names them
   */
  constructor(
    zygote: Zygote,
    parts: GuestParts,
    limits: SandboxLimits,
    size: number,
    nextId: () => string,
  ) {
    this.#zygote = zygote;
    this.#parts = parts;
    this.#limits = limits;
    this.#size = size;
    this.#nextId = nextId;
  }

  /** Children of the zygote that belong to this stock, those being made included. */
  get held(): number {
    return this.#stock.length + this.#making.size;
  }

  /**
   * @returns a guest, from stock or freshly requested; the caller assigns or removes it
   * @throws {OlError} sandbox_create, pool_exhausted, syscall
   */
  async take(): Promise<GuestProcess> {
    for (let guest = this.#stock.shift(); guest !== undefined; guest = this.#stock.shift()) {
      if (guest.isUsable) {
        this.#refillSoon();
        return guest;
      }
      void guest.remove();
    }
    const guest = await this.#fork();
    this.refill();
    return guest;
  }

  /**
   * Refills when the call that took a guest has likely been answered, so that the next fork does not
   * compete with it; at once where the stock runs low.
   */
  #refillSoon(): void {
    if (this.#stock.length < this.#size / 2) {
      this.refill();
      return;
    }
    this.#later ??= setTimeout(() => {
      this.#later = null;
      this.refill();
    }, SPARE_REFILL_DELAY_MS);
  }

  /** Brings the stock back to its size, in the background. */
  refill(): void {
    const missing = this.#size - this.#stock.length - this.#making.size;
    for (let index = 0; index < missing; index++) {
      if (this.#closed || !this.#zygote.isAlive) return;
      const making = this.#fork().then(
        (guest) => this.#keep(guest),
        (error: unknown) => {
          this.#parts.onError(error);
        },
      );
      this.#making.add(making);
      void making.finally(() => this.#making.delete(making));
    }
  }

  /** Removes every guest in stock. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#later !== null) clearTimeout(this.#later);
    await Promise.all(this.#making);
    await Promise.all(this.#stock.splice(0).map((guest) => guest.remove()));
  }

  async #keep(guest: GuestProcess): Promise<void> {
    if (this.#closed) await guest.remove();
    else this.#stock.push(guest);
  }

  #fork(): Promise<GuestProcess> {
    return GuestProcess.fork(this.#nextId(), this.#zygote, this.#parts, this.#limits);
  }
}
