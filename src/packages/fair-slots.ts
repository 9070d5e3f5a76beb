/** Bounds how many installer sandboxes run at once, and sees to it that nobody takes them all. */

/**
 * Lets a fixed number of tasks run, at most one for each owner, so that a lambda whose installations take as
 * long as they may holds up nobody but itself. Owners that wait get their turn one after the other,
 * however many tasks each has; the tasks of one owner run in the order in which they came.
 */
export class FairSlots {
  #free: number;
  /** By owner, in the order in which it is their turn. */
  readonly #waiting = new Map<string, (() => void)[]>();
  readonly #running = new Set<string>();

  /** @param max tasks at once, at least 1 */
  constructor(max: number) {
    this.#free = max;
  }

  /**
   * @param owner on whose behalf
   * @param task what to run when there is room
   * @returns its result
   */
  run<T>(owner: string, task: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const start = (): void => {
      task()
        .then(resolve, reject)
        .finally(() => {
          this.#free += 1;
          this.#running.delete(owner);
          this.#putLast(owner);
          this.#startNext();
        });
    };
    const queue = this.#waiting.get(owner);
    if (queue === undefined) this.#waiting.set(owner, [start]);
    else queue.push(start);
    this.#startNext();
    return promise;
  }

  /** Whoever had a turn gets the next one after all others. */
  #putLast(owner: string): void {
    const queue = this.#waiting.get(owner);
    if (queue === undefined) return;
    this.#waiting.delete(owner);
    this.#waiting.set(owner, queue);
  }

  #startNext(): void {
    for (const [owner, queue] of this.#waiting) {
      if (this.#free === 0) return;
      if (this.#running.has(owner)) continue;
      const next = queue.shift();
      if (queue.length === 0) this.#waiting.delete(owner);
      if (next === undefined) continue;
      this.#free -= 1;
      this.#running.add(owner);
      next();
    }
  }
}
