/** Bounds how many things go on at once; the others wait their turn. */

/** A counting gate, first come first served. */
export class StartGate {
  readonly #max: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param max how many may be inside */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * @param work runs inside
   * @returns what it returns; throws what it throws
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#max) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    } else {
      this.#running += 1;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
