/** Zipf popularity: few lambdas get most calls, as published traces of serverless platforms show. */

import type { Random } from "./random.ts";

/**
 * @param size how many items there are
 * @param exponent 0 is uniform; traces of serverless platforms lie around 1
 * @param random source of the draws
 * @returns a function that draws an item's index; index `i` has weight `1 / (i + 1)^exponent`
 */
export function zipf(size: number, exponent: number, random: Random): () => number {
  const cumulative = new Float64Array(size);
  let sum = 0;
  for (let i = 0; i < size; i++) {
    sum += 1 / (i + 1) ** exponent;
    cumulative[i] = sum;
  }
  return () => {
    const target = random.next() * sum;
    let low = 0;
    let high = size - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((cumulative[middle] as number) <= target) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
