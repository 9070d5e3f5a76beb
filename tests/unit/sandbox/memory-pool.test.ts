import { expect, test } from "bun:test";

import { MemoryPool } from "../../../src/sandbox/memory-pool.ts";

/** Of somebody who waits for as long as it takes. */
const { signal } = new AbortController();

test("reserve() is granted once when making room frees more than it wants", async () => {
  let isIdle = false;
  const pool: MemoryPool = new MemoryPool(20, () => {
    if (!isIdle) return false;
    isIdle = false;
    pool.release(20);
    return true;
  });
  expect(pool.tryReserve(20)).toBe(true);
  const waiting = pool.reserve(10, signal);
  isIdle = true;
  pool.retry();
  expect(await waiting).toBe(true);
  expect(pool.reservedBytes).toBe(10);
});

test("reserve() asks for the memory of all who wait at once", async () => {
  const wanted: number[] = [];
  const pool: MemoryPool = new MemoryPool(20, (missing) => {
    wanted.push(missing);
    return false;
  });
  expect(pool.tryReserve(20)).toBe(true);
  const waiting = [pool.reserve(5, signal), pool.reserve(5, signal)];
  expect(wanted.at(-1)).toBe(10);
  pool.release(20);
  expect(await Promise.all(waiting)).toEqual([true, true]);
  expect(pool.reservedBytes).toBe(10);
});

test("reserve() that is given up lets smaller wishes behind it pass", async () => {
  const pool = new MemoryPool(20, () => false);
  expect(pool.tryReserve(15)).toBe(true);
  const wish = new AbortController();
  const large = pool.reserve(20, wish.signal);
  const small = pool.reserve(5, signal);
  wish.abort();
  expect(await large).toBe(false);
  expect(await small).toBe(true);
  expect(pool.reservedBytes).toBe(20);
});

test("reserve() reclaims nothing for a wish that was given up", async () => {
  const wanted: number[] = [];
  const pool = new MemoryPool(20, (missing) => {
    wanted.push(missing);
    return false;
  });
  expect(pool.tryReserve(20)).toBe(true);
  const wish = new AbortController();
  const given = pool.reserve(5, wish.signal);
  const kept = pool.reserve(3, signal);
  wish.abort();
  wanted.length = 0;
  pool.retry();
  expect(wanted).toEqual([3]);
  wish.abort();
  expect(await pool.reserve(5, wish.signal)).toBe(false);
  pool.release(20);
  expect([await given, await kept, pool.reservedBytes]).toEqual([false, true, 3]);
});
