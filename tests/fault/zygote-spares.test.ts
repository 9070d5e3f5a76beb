/** Spares of import-cache zygotes that die, that lie, or that never come: FAULTS E, row 2. */

import { afterAll, beforeAll, expect, setDefaultTimeout, spyOn, test } from "bun:test";

import { systemClock } from "../../src/common/clock.ts";
import {
  SPARES_CACHED,
  SPARES_CACHED_IN_DEMAND,
  SPARES_ROOT,
  SPARES_ROOT_MAKING_MAX,
} from "../../src/common/zygote-limits.ts";
import { SpareStock } from "../../src/sandbox/sock/spare-stock.ts";
import { ImportCache } from "../../src/zygote/import-cache.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";
import {
  isRunning,
  processesBelow,
  signalExactly,
  type WorkerProcess,
} from "../helpers/worker-processes.ts";
import { EngineBench } from "./engine-bench.ts";
import { addPackage, FIND_ZYGOTE, installed } from "./package-fixtures.ts";

setDefaultTimeout(scaled(60_000));

const GIB = 1024 ** 3;
let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

/** Spares that were forked from cached zygotes: their parents are not the root zygote. */
function cachedSpares(): WorkerProcess[] {
  const all = processesBelow(process.pid);
  const root = all.find(({ role }) => role === "zygote");
  return all.filter(({ role, parent }) => role === "spare" && parent !== root?.pid);
}

async function oneSpare(): Promise<WorkerProcess> {
  return await waitFor(() => cachedSpares()[0], "the zygote has a spare");
}

test("a zygote whose spare was killed is in use by its handler still", async () => {
  const cache = new ImportCache({ host: bench.pool, clock: systemClock, budgetBytes: GIB });
  addPackage(bench, "olslow", "import time\ntime.sleep(0.02)\n");
  const rest = await bench.atRest();
  const packages = installed("olslow");
  cache.acquire(packages).release(20_000);
  await cache.settled();
  const lease = cache.acquire(packages);
  const sandbox = await bench.create({ zygoteId: lease.zygote, packages: packages.dirs });
  await bench.call(sandbox);
  lease.release(sandbox.importUs);
  expect([sandbox.origin, bench.pool.liveSandboxes(lease.zygote ?? "")]).toEqual(["zygote", 1]);

  const first = await oneSpare();
  signalExactly(first, "SIGKILL");
  await waitFor(() => !isRunning(first), "the spare is gone");
  // It is replaced, and the zygote counts as used all the time.
  await waitFor(() => {
    expect(bench.pool.liveSandboxes(lease.zygote ?? "")).toBe(1);
    return cachedSpares().some(({ pid }) => pid !== first.pid);
  }, "there is another spare");
  expect(cache.releaseMemory(GIB)).toBe(0);
  await cache.settled();
  await bench.call(sandbox);

  await sandbox.destroy();
  await waitFor(() => bench.pool.liveSandboxes(lease.zygote ?? "") === 0, "nothing uses it");
  expect(cache.releaseMemory(GIB)).toBeGreaterThan(0);
  await cache.close();
  await bench.expectAtRest(rest);
});

test("a call that finds no spare in stock takes one that is being made", async () => {
  const rest = await bench.atRest();
  using forkedForCalls = spyOn(SpareStock.prototype, "fork");
  // Those that are made in place of the first ones are on their way by then.
  const count = SPARES_ROOT + SPARES_ROOT_MAKING_MAX;
  const sandboxes = await Promise.all(Array.from({ length: count }, () => bench.create()));
  expect(forkedForCalls.mock.calls).toEqual([]);
  for (const sandbox of sandboxes) await bench.call(sandbox);
  expect(new Set(sandboxes.map(({ id }) => id)).size).toBe(count);
  await Promise.all(sandboxes.map((sandbox) => sandbox.destroy()));
  await bench.expectAtRest(rest);
});

test("a zygote has one spare at rest and more while it is in demand", async () => {
  const rest = await bench.atRest();
  await bench.pool.createZygote(null, { id: "z-demand", packages: [], imports: ["decimal"] });
  await waitFor(() => cachedSpares().length === SPARES_CACHED, "it has its first spare");
  const sandbox = await bench.create({ zygoteId: "z-demand" });
  await bench.call(sandbox);
  expect(sandbox.origin).toBe("zygote");
  // Its process looks like a spare: it sees code that lies elsewhere than a worker's.
  await sandbox.destroy();
  await waitFor(() => cachedSpares().length === SPARES_CACHED_IN_DEMAND, "it has others");
  await waitFor(() => cachedSpares().length === SPARES_CACHED, "it is calm again");
  await bench.pool.destroyZygote("z-demand");
  await bench.expectAtRest(rest);
});

const LIES_ABOUT_EXITS = `${FIND_ZYGOTE}
if zygote is not None:
    honest = zygote.spare
    def spare(request, fds):
        honest(request, fds)
        zygote.say(event="exit", id=request["id"], signal=0, code=0)
    zygote.spare = spare
`;

test("a zygote that reports false exits cannot make a running handler look gone", async () => {
  const dir = addPackage(bench, "olfalse", LIES_ABOUT_EXITS);
  const rest = await bench.atRest();
  await bench.pool.createZygote(null, { id: "z-liar", packages: [dir], imports: ["olfalse"] });
  const sandbox = await bench.create({ zygoteId: "z-liar", packages: [dir] });
  await bench.call(sandbox);
  if (sandbox.origin === "zygote") expect(bench.pool.liveSandboxes("z-liar")).toBe(1);
  await bench.call(sandbox);
  await sandbox.destroy();
  await bench.pool.destroyZygote("z-liar");
  await bench.expectAtRest(rest);
});

const BROKEN: readonly (readonly [name: string, source: string])[] = [
  [
    "hangs after each fork",
    "import os, time\nos.register_at_fork(after_in_child=lambda: time.sleep(1e6))\n",
  ],
  [
    "hangs before each fork",
    "import os, time\nos.register_at_fork(before=lambda: time.sleep(1e6))\n",
  ],
  ["ends each child", "import os\nos.register_at_fork(after_in_child=lambda: os._exit(3))\n"],
  [
    "stops reading requests",
    `${FIND_ZYGOTE}
if zygote is not None:
    zygote.handle = lambda data, fds: time.sleep(1e6)
`,
  ],
];

test.each(BROKEN)(
  "a zygote that %s is given up, and its users are served",
  async (what, source) => {
    const name = `ol${what.replaceAll(/[^a-z]/g, "")}`;
    const dir = addPackage(bench, name, source);
    const gone: string[] = [];
    bench.pool.onZygoteGone((id) => gone.push(id));
    const rest = await bench.atRest();
    await bench.pool.createZygote(null, { id: name, packages: [dir], imports: [name] });
    const sandbox = await bench.create({ zygoteId: name, packages: [dir] });
    await bench.call(sandbox);
    expect(sandbox.origin).toBe("fresh");
    await waitFor(() => gone.length > 0, "it is told of");
    expect(gone).toEqual([name]);
    await sandbox.destroy();
    await bench.expectAtRest(rest);
  },
);
