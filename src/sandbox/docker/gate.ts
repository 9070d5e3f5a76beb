/** Lets a bounded number of asynchronous jobs run at once; the others wait in order. */

/** A counting semaphore. */
export class Gate {
  readonly #max: number;
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  /** @param max jobs at once, at least 1 */
  constructor(max: number) {
    this.#max = max;
  }

  /** @returns what the job returns, once it was its turn */
  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#inside >= this.#max) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    } else {
      this.#inside += 1;
    }
    try {
      return await job();
    } finally {
      const next = this.#waiting.shift();
      // A place is handed over, so that nobody slips in between.
      if (next === undefined) this.#inside -= 1;
      else next();
    }
  }
}
