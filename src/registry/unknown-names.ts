/**
 * What a remote registry last said of names that have no version here: there is no such lambda, or the
 * store failed. Without it each call of such a name would ask the store, as often as callers like.
 */

import type { Clock } from "../common/clock.ts";
import { OlError } from "../common/errors.ts";
import { S3_UNKNOWN_NAMES_MAX } from "../common/limits.ts";

interface Answer {
  /** When it was asked for, in microseconds of the clock. */
  readonly askedUs: number;
  /** Null where there is no such lambda. */
  readonly failure: OlError | null;
}

/** Answers for a bounded number of names. */
export class UnknownNames {
  readonly #cacheMs: number;
  readonly #clock: Clock;
  /** Oldest first. */
  readonly #answers = new Map<string, Answer>();

  /**
   * @param cacheMs for how long an answer holds, in milliseconds
   * @param clock tells it
   */
  constructor(cacheMs: number, clock: Clock) {
    this.#cacheMs = cacheMs;
    this.#clock = clock;
  }

  /**
   * @param name of a lambda
   * @param ask asks the store
   * @returns what `ask` returns; null without asking where it did so a short time ago
   * @throws {OlError} what `ask` throws, or threw a short time ago
   */
  async resolve<T>(name: string, ask: () => Promise<T | null>): Promise<T | null> {
    const askedUs = this.#clock.nowUs();
    const last = this.#answers.get(name);
    if (last !== undefined && askedUs - last.askedUs < this.#cacheMs * 1000) {
      if (last.failure !== null) throw last.failure;
      return null;
    }
    this.#answers.delete(name);
    try {
      const found = await ask();
      if (found === null) this.#remember(name, { askedUs, failure: null });
      return found;
    } catch (error) {
      if (error instanceof OlError) this.#remember(name, { askedUs, failure: error });
      throw error;
    }
  }

  /** @param name of a lambda that has changed */
  forget(name: string): void {
    this.#answers.delete(name);
  }

  #remember(name: string, answer: Answer): void {
    if (this.#cacheMs <= 0) return;
    this.#answers.delete(name);
    this.#answers.set(name, answer);
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > S3_UNKNOWN_NAMES_MAX) this.#answers.delete(oldest ?? "");
  }
}
