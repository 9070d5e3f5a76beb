/** Bounds how many installer sandboxes run at once. */

/** Lets a fixed number of tasks run; the others wait in order. */
export class Semaphore {
  readonly #max: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #entered = 0;

  /** @param max tasks at once, at least 1 */
  constructor(max: number) {
    this.#max = max;
  }

  /** Tasks started so far. */
  get entered(): number {
    return this.#entered;
  }

  /**
   * @param task what to run when there is room
   * @returns its result
   */
  async run<T>(task: () => Promise<T>): Promise<T> {
    this.#entered += 1;
    if (this.#running < this.#max) this.#running += 1;
    else {
      // Whoever ends hands its place over, so that nobody slips in between.
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
