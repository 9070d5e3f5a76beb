import { expect, test } from "bun:test";

import { MemoryPool } from "../../../src/sandbox/memory-pool.ts";

test("reserve() is granted once when making room frees more than it wants", async () => {
  let isIdle = false;
  const pool: MemoryPool = new MemoryPool(20, () => {
    if (!isIdle) return false;
    isIdle = false;
    pool.release(20);
    return true;
  });
  expect(pool.tryReserve(20)).toBe(true);
  const waiting = pool.reserve(10, 60_000);
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
  const waiting = [pool.reserve(5, 60_000), pool.reserve(5, 60_000)];
  expect(wanted.at(-1)).toBe(10);
  pool.release(20);
  expect(await Promise.all(waiting)).toEqual([true, true]);
  expect(pool.reservedBytes).toBe(10);
});

test("reserve() is refused after its time and lets smaller wishes behind it pass", async () => {
  const pool = new MemoryPool(20, () => false);
  expect(pool.tryReserve(15)).toBe(true);
  const large = pool.reserve(20, 5);
  const small = pool.reserve(5, 60_000);
  expect(await large).toBe(false);
  expect(await small).toBe(true);
  expect(pool.reservedBytes).toBe(20);
});
