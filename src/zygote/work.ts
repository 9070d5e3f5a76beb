/** How much planning the worker may do: all calls wait while it plans, and lambdas choose how much there is. */

import type { Clock } from "../common/clock.ts";
import { ZYGOTE_PLAN_STEPS_MAX, ZYGOTE_PLAN_STEPS_PER_MS } from "../common/zygote-limits.ts";

/** Counts steps, and says when there have been too many of late. */
export class Work {
  readonly #clock: Clock;
  #steps = 0;
  /** Steps that may be taken now; below zero after a plan that took more. */
  #left = ZYGOTE_PLAN_STEPS_MAX;
  #atUs: number;

  /** @param clock where time comes from */
  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atUs = clock.nowUs();
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#steps;
  }

  /** @returns whether something may be planned now */
  mayPlan(): boolean {
    const nowUs = this.#clock.nowUs();
    const granted = ((nowUs - this.#atUs) / 1000) * ZYGOTE_PLAN_STEPS_PER_MS;
    this.#left = Math.min(ZYGOTE_PLAN_STEPS_MAX, this.#left + granted);
    this.#atUs = nowUs;
    return this.#left > 0;
  }

  /** @param steps that were taken */
  did(steps: number): void {
    this.#steps += steps;
    this.#left -= steps;
  }
}
