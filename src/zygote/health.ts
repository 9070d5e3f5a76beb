/** Whether lambdas load on a zygote: which one to give up, and for whom. */

import { ZYGOTE_LOAD_FAILURES_MAX } from "../common/zygote-limits.ts";
import type { Need } from "./need.ts";

/**
 * First loads on one zygote. Failures in a row are the zygote's fault where it has served nobody yet or
 * fails different lambdas; else they are taken for that lambda's own, which must not cost others their zygote.
 */
export class Health {
  #failures = 0;
  #isProven = false;
  #failed = new Set<Need>();
  readonly #avoidedBy = new WeakSet<Need>();

  /** Notes that a lambda was loaded. */
  loaded(): void {
    this.#isProven = true;
    this.#forget();
  }

  /**
   * Notes that a lambda could not be loaded.
   * @param need the lambda's
   * @returns whether the zygote is to be given up
   */
  failed(need: Need): boolean {
    this.#failures += 1;
    this.#failed.add(need);
    if (this.#failures < ZYGOTE_LOAD_FAILURES_MAX) return false;
    const isBroken = !this.#isProven || this.#failed.size > 1;
    if (!isBroken) this.#avoidedBy.add(need);
    this.#forget();
    return isBroken;
  }

  /**
   * @param need a lambda's
   * @returns whether that lambda is better off without this zygote
   */
  fails(need: Need): boolean {
    return this.#avoidedBy.has(need);
  }

  #forget(): void {
    this.#failures = 0;
    this.#failed.clear();
  }
}
