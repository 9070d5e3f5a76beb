/** Zygotes in the making: what they are expected to take, and how to give them up. */

/** One of them. */
interface Creation {
  readonly id: string;
  /** Identity of the need that it is made for; null: none in particular. */
  readonly needKey: string | null;
  readonly memoryBytes: number;
  readonly done: Promise<void>;
}

/** By identity of their units. */
export class Creations {
  readonly #byKey = new Map<string, Creation>();
  readonly #onChange: () => void;

  /** @param onChange called when one begins or ends */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** How many there are. */
  get size(): number {
    return this.#byKey.size;
  }

  /** What they are expected to take, in bytes. */
  get memoryBytes(): number {
    let sum = 0;
    for (const { memoryBytes } of this.#byKey.values()) sum += memoryBytes;
    return sum;
  }

  /** Ids of all. */
  get ids(): readonly string[] {
    return [...this.#byKey.values()].map(({ id }) => id);
  }

  /** @returns whether a zygote with these units is being made */
  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** @returns whether one is being made for this need */
  hasFor(needKey: string): boolean {
    for (const creation of this.#byKey.values()) if (creation.needKey === needKey) return true;
    return false;
  }

  /**
   * @param key identity of its units
   * @param what its id, whom it is for, what it is expected to take
   * @param make makes it
   * @returns when it is made
   */
  run(
    key: string,
    what: Pick<Creation, "id" | "needKey" | "memoryBytes">,
    make: () => Promise<void>,
  ): Promise<void> {
    const done = make().finally(() => {
      this.#byKey.delete(key);
      this.#onChange();
    });
    this.#byKey.set(key, { ...what, done });
    this.#onChange();
    return done;
  }

  /** @returns when all that are under way now have ended, however */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#byKey.values()].map(({ done }) => done));
  }
}
