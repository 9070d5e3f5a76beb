/**
 * Seeded randomness: arrivals, shuffles, Zipf draws and bootstraps of a run can be repeated from the
 * seed in its result file. Math.random is used nowhere in the suite.
 */

const UINT32 = 2 ** 32;

/** Finaliser of splitmix32: turns any 32-bit number into a well mixed one. */
function mix32(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}

/** FNV-1a over UTF-16 code units: seeds are words, the generator wants numbers. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

const rotl = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));

/**
 * A stream of random numbers (xoshiro128**).
 * @see https://prng.di.unimi.it/xoshiro128starstar.c
 */
export class Random {
  readonly #seed: string;
  readonly #state: Uint32Array;

  /**
   * @param seed any text; equal seeds give equal streams
   * @param state the four words of the generator, for tests against published values
   */
  constructor(seed: string, state?: readonly [number, number, number, number]) {
    this.#seed = seed;
    if (state !== undefined) {
      this.#state = Uint32Array.from(state);
      return;
    }
    const base = hash32(seed);
    this.#state = Uint32Array.from([1, 2, 3, 4], (i) => mix32(base + Math.imul(i, 0x9e3779b9)));
  }

  /** @returns an integer from 0 to 2^32 - 1 */
  uint32(): number {
    const s = this.#state as unknown as [number, number, number, number];
    const result = Math.imul(rotl(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11);
    return result;
  }

  /** @returns a number from 0 (included) to 1 (excluded) */
  next(): number {
    return this.uint32() / UINT32;
  }

  /**
   * @param below how many values there are
   * @returns an integer from 0 to `below - 1`
   */
  int(below: number): number {
    return Math.floor(this.next() * below);
  }

  /**
   * @param mean mean of the distribution, any unit
   * @returns a gap between two events of a Poisson process
   */
  exponential(mean: number): number {
    return -Math.log(1 - this.next()) * mean;
  }

  /**
   * @param items left as they are
   * @returns the same items in random order (Fisher-Yates)
   */
  shuffled<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [result[i], result[j]] = [result[j] as T, result[i] as T];
    }
    return result;
  }

  /**
   * @param label what the new stream is for
   * @returns a stream that depends on the seed and the label only, not on what was drawn so far
   */
  fork(label: string): Random {
    return new Random(`${this.#seed}/${label}`);
  }
}
