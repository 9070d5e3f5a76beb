/** What was lent comes back when the host lets it, and nobody is told before. */

import { expect, test } from "bun:test";

import type { Cgroup } from "../../../../src/cgroup/contract.ts";
import type { CgroupPool } from "../../../../src/cgroup/pool.ts";
import { type Lent, Loans } from "../../../../src/sandbox/sock/loans.ts";
import type { UidPool } from "../../../../src/sandbox/sock/uid-pool.ts";

const LENT: Lent = { cgroup: {} as Cgroup, uid: 7 };

/** A host that refuses so many times. */
function lend(refusals: number): { loans: Loans; released: number[]; errors: unknown[] } {
  const released: number[] = [];
  const errors: unknown[] = [];
  let left = refusals;
  const release = (): Promise<void> => {
    left -= 1;
    return left >= 0 ? Promise.reject(new Error("refused")) : Promise.resolve();
  };
  const uids = { release: (uid: number) => released.push(uid) };
  const loans = new Loans(
    { release } as unknown as CgroupPool,
    uids as unknown as UidPool,
    (error) => errors.push(error),
  );
  return { loans, released, errors };
}

test("giveBack() says that everything is back, after it told so", async () => {
  const { loans, released, errors } = lend(0);
  let told = 0;
  expect((await loans.giveBack(LENT, { again: true, onReturned: () => (told += 1) })).isEmpty).toBe(
    true,
  );
  expect([released, errors.length, told]).toEqual([[7], 0, 1]);
});

test("giveBack() says that the host refused, and the caller is told once it does not", async () => {
  const { loans, released, errors } = lend(2);
  let told = 0;
  expect((await loans.giveBack(LENT, { again: true, onReturned: () => (told += 1) })).isEmpty).toBe(
    false,
  );
  expect([released, errors.length, told]).toEqual([[], 1, 0]);
  await loans.settle();
  expect([released, errors.length, told]).toEqual([[7], 2, 1]);
  await loans.settle();
  expect(told).toBe(1);
});
