/** How a pool ends what is left in a cgroup: by its borrower's word where there is one, by killing it where that does not help. */

import { expect, test } from "bun:test";
import { CgroupPool } from "../../../src/cgroup/pool.ts";
import { detectCgroups } from "../../../src/cgroup/host.ts";
import { FakeKernel } from "./fake-kernel.ts";

const LIMITS = { memoryMaxBytes: 64 << 20, processesMax: 8, cpuPercent: 50 };

const KILL = "/cg/ol-1/cg-1/cgroup.kill 1";
const PROCS = "/cg/ol-1/cg-1";

function lend(): { kernel: FakeKernel; pool: CgroupPool } {
  const kernel = new FakeKernel({
    mountinfo: "30 22 0:26 / /cg rw - cgroup2 cgroup2 rw",
    v2: { "/cg": ["cpu", "memory", "pids"] },
  });
  const root = detectCgroups(kernel).openRoot("ol-1");
  const pool = new CgroupPool(root, 0, LIMITS, (error) => {
    throw error;
  });
  return { kernel, pool };
}

test("release() kills nothing where the first process ends when it is asked", async () => {
  const { kernel, pool } = lend();
  const cgroup = pool.acquire();
  kernel.setPids(PROCS, [10, 11]);
  const ended = Promise.withResolvers<void>();
  const ask = (): void => {
    kernel.setPids(PROCS, []);
    ended.resolve();
  };
  let ignored = 0;
  await pool.release(cgroup, true, { ended: ended.promise, ask, onIgnored: () => (ignored += 1) });
  expect(ignored).toBe(0);
  expect(kernel.writes).not.toContain(KILL);
  expect(kernel.killed).toEqual([]);
});

test("release() kills what is left after that, such as what was put there by hand", async () => {
  const { kernel, pool } = lend();
  const cgroup = pool.acquire();
  kernel.setPids(PROCS, [10, 11]);
  const ask = (): void => {
    kernel.setPids(PROCS, [11]);
  };
  await pool.release(cgroup, true, { ended: Promise.resolve(), ask });
  expect(kernel.writes).toContain(KILL);
});

test("release() kills at once where nobody can be asked", async () => {
  const { kernel, pool } = lend();
  const cgroup = pool.acquire();
  kernel.setPids(PROCS, [10]);
  const releasing = pool.release(cgroup, true, { ended: Promise.resolve() });
  expect(kernel.writes).toContain(KILL);
  await releasing;
});

test("release() kills where the end that was asked for does not come", async () => {
  const { kernel, pool } = lend();
  const cgroup = pool.acquire();
  kernel.setPids(PROCS, [10]);
  const never = Promise.withResolvers<void>().promise;
  let ignored = 0;
  await pool.release(cgroup, true, {
    ended: never,
    ask: () => {},
    onIgnored: () => (ignored += 1),
  });
  expect(kernel.writes).toContain(KILL);
  expect(ignored).toBe(1);
});
