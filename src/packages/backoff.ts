/** Remembers what failed lately, so that a broken thing is tried again with growing pauses only. */

import type { Clock } from "../common/clock.ts";

/** How long to pause. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Keys remembered; the oldest are forgotten beyond it. */
  readonly entriesMax: number;
}

interface Entry<T> {
  failures: number;
  retryAtUs: number;
  reason: T;
}

/** Failures by key; a success forgets the key. */
export class Backoff<T> {
  readonly #clock: Clock;
  readonly #options: BackoffOptions;
  readonly #entries = new Map<string, Entry<T>>();

  /**
   * @param clock where time comes from
   * @param options pauses and bound
   */
  constructor(clock: Clock, options: BackoffOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /**
   * @param key what is about to be tried
   * @returns why not to try it now and for how long, or null where it may be tried
   */
  blocked(key: string): { readonly reason: T; readonly retryInMs: number } | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    const leftUs = entry.retryAtUs - this.#clock.nowUs();
    return leftUs > 0 ? { reason: entry.reason, retryInMs: Math.ceil(leftUs / 1000) } : null;
  }

  /**
   * @param key what failed
   * @param reason kept for `blocked`
   * @returns the pause until the next try, in milliseconds
   */
  failed(key: string, reason: T): number {
    const failures = (this.#entries.get(key)?.failures ?? 0) + 1;
    const { firstMs, maxMs, entriesMax } = this.#options;
    const pauseMs = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
    this.#entries.delete(key);
    this.#entries.set(key, { failures, reason, retryAtUs: this.#clock.nowUs() + pauseMs * 1000 });
    if (this.#entries.size > entriesMax) {
      const oldest = this.#entries.keys().next();
      if (!oldest.done) this.#entries.delete(oldest.value);
    }
    return pauseMs;
  }

  /** @param key what worked */
  succeeded(key: string): void {
    this.#entries.delete(key);
  }
}
