/** Cgroups that one borrower may have again and nobody else. */

import { expect, test } from "bun:test";
import { detectCgroups } from "../../../src/cgroup/host.ts";
import { CgroupPool, CgroupShelf } from "../../../src/cgroup/pool.ts";
import { Loans } from "../../../src/sandbox/sock/loans.ts";
import { UidPool } from "../../../src/sandbox/sock/uid-pool.ts";
import { FakeKernel } from "./fake-kernel.ts";

const LIMITS = { memoryMaxBytes: 64 << 20, processesMax: 8, cpuPercent: 50 };

function pooled(size: number): { kernel: FakeKernel; pool: CgroupPool; errors: unknown[] } {
  const kernel = new FakeKernel({
    mountinfo: "30 22 0:26 / /cg rw - cgroup2 cgroup2 rw",
    v2: { "/cg": ["cpu", "memory", "pids"] },
  });
  const errors: unknown[] = [];
  const root = detectCgroups(kernel).openRoot("ol-1");
  const pool = new CgroupPool(root, size, LIMITS, (error) => errors.push(error));
  return { kernel, pool, errors };
}

function shelfOf(pool: CgroupPool, size: number): CgroupShelf {
  const shelf = new CgroupShelf();
  pool.resize(shelf, size);
  return shelf;
}

test("what comes back to a shelf is its borrower's next, and never anybody else's", async () => {
  const { pool } = pooled(8);
  const shelf = shelfOf(pool, 2);
  const cgroup = pool.acquire(shelf);
  await pool.release(cgroup, shelf);
  for (let count = 0; count < 20; count++) expect(pool.acquire()).not.toBe(cgroup);
  expect(pool.acquire(new CgroupShelf())).not.toBe(cgroup);
  expect(pool.acquire(shelf)).toBe(cgroup);
});

test("a shelf keeps as many as it was given room for", async () => {
  const { kernel, pool } = pooled(0);
  const shelf = shelfOf(pool, 2);
  const cgroups = Array.from({ length: 4 }, () => pool.acquire(shelf));
  for (const cgroup of cgroups) await pool.release(cgroup, shelf);
  expect(shelf.stock).toEqual(cgroups.slice(0, 2));
  const isThere = cgroups.map(({ name }) => kernel.dirs.has(`/cg/ol-1/${name}`));
  expect(isThere).toEqual([true, true, false, false]);
  expect(pool.lent).toBe(0);
});

test("resize() lends out what a shelf holds beyond it, and keeps nothing that comes later", async () => {
  const { kernel, pool, errors } = pooled(0);
  const shelf = shelfOf(pool, 3);
  const [early, late] = [pool.acquire(shelf), pool.acquire(shelf)];
  await pool.release(early, shelf);
  expect(pool.resize(shelf, 0)).toEqual([early]);
  expect(pool.lent).toBe(2);
  await pool.release(late, shelf);
  await pool.release(early, false);
  expect([...kernel.dirs].filter((dir) => dir.startsWith("/cg/ol-1/cg-"))).toEqual([]);
  expect([shelf.stock.length, pool.lent, errors]).toEqual([0, 0, []]);
});

test("who has put himself into a cgroup of a shelf is killed when that is cleared", async () => {
  const { kernel, pool, errors } = pooled(0);
  const loans = new Loans(pool, new UidPool(), (error) => errors.push(error));
  const shelf = new CgroupShelf();
  loans.resize(shelf, 1);
  const { cgroup, uid } = loans.borrow(shelf);
  await loans.giveBack({ cgroup, uid }, { again: shelf });
  expect(shelf.stock).toEqual([cgroup]);
  kernel.setPids(`/cg/ol-1/${cgroup.name}`, [10]);
  loans.resize(shelf, 0);
  await loans.settle();
  expect(kernel.writes).toContain(`/cg/ol-1/${cgroup.name}/cgroup.kill 1`);
  expect([kernel.dirs.has(`/cg/ol-1/${cgroup.name}`), pool.lent, errors]).toEqual([false, 0, []]);
});
