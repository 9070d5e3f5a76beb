import { expect, test } from "bun:test";

import { MemoryPool } from "../../../src/sandbox/memory-pool.ts";
import { settle } from "../lambda/fakes.ts";

/** Of somebody who waits for as long as it takes. */
const { signal } = new AbortController();
const owner = {};

test("reserve() is granted once when making room frees more than it wants", async () => {
  let isIdle = false;
  const pool: MemoryPool = new MemoryPool(20, () => {
    if (!isIdle) return false;
    isIdle = false;
    pool.release(20);
    return true;
  });
  expect(pool.tryReserve(20)).toBe(true);
  const waiting = pool.reserve(10, owner, signal);
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
  const waiting = [pool.reserve(5, owner, signal), pool.reserve(5, owner, signal)];
  expect(wanted.at(-1)).toBe(10);
  pool.release(20);
  expect(await Promise.all(waiting)).toEqual([true, true]);
  expect(pool.reservedBytes).toBe(10);
});

test("reserve() that is given up lets smaller wishes behind it pass", async () => {
  const pool = new MemoryPool(20, () => false);
  expect(pool.tryReserve(15)).toBe(true);
  const wish = new AbortController();
  const large = pool.reserve(20, owner, wish.signal);
  const small = pool.reserve(5, owner, signal);
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
  const given = pool.reserve(5, owner, wish.signal);
  const kept = pool.reserve(3, owner, signal);
  wish.abort();
  wanted.length = 0;
  pool.retry();
  expect(wanted).toEqual([3]);
  wish.abort();
  expect(await pool.reserve(5, owner, wish.signal)).toBe(false);
  pool.release(20);
  expect([await given, await kept, pool.reservedBytes]).toEqual([false, true, 3]);
});

test("reserve() grants wishes of different owners in turn, those of one in their order", async () => {
  const pool = new MemoryPool(1, () => false);
  expect(pool.tryReserve(1)).toBe(true);
  const granted: string[] = [];
  const owners = { a: {}, b: {} };
  for (const name of ["a1", "a2", "a3", "b1", "b2"]) {
    const whose = name.startsWith("a") ? owners.a : owners.b;
    void pool.reserve(1, whose, signal).then(() => granted.push(name));
  }
  expect([pool.wantedByOthers(owners.a), pool.wantedByOthers(owners.b)]).toEqual([2, 3]);
  pool.passTurn(owners.a);
  for (let round = 0; round < 5; round++) {
    pool.release(1);
    await settle();
  }
  expect(granted).toEqual(["b1", "a1", "b2", "a2", "a3"]);
  expect([pool.wantedByOthers({}), pool.freeBytes]).toEqual([0, 0]);
});
