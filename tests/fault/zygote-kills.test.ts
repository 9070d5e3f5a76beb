/** Zygotes of the import cache that are killed: FAULTS E, row 2. */

import { afterAll, beforeAll, expect, test } from "bun:test";

import { OlError } from "../../src/common/errors.ts";
import { waitFor } from "../helpers/wait-for.ts";
import {
  cgroupsOf,
  isRunning,
  processesBelow,
  signalExactly,
  type WorkerProcess,
} from "../helpers/worker-processes.ts";
import { EngineBench } from "./engine-bench.ts";
import { addCode, addPackage } from "./package-fixtures.ts";

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

test("an import-cache zygote that is killed takes its own along and is told of once", async () => {
  const gone: string[] = [];
  bench.pool.onZygoteGone((id) => gone.push(id));
  const rest = await bench.atRest();
  const below = new Set(processesBelow(process.pid).map(({ pid }) => pid));
  await bench.pool.createZygote(null, { id: "z-1", packages: [], imports: ["decimal"] });
  const own = processesBelow(process.pid).filter(
    ({ pid, role }) => !below.has(pid) && role.startsWith("zygote"),
  );
  const sandbox = await bench.create({ zygoteId: "z-1" });
  await bench.call(sandbox);
  expect(sandbox.origin).toBe("zygote");
  const other = await bench.create();
  const [target] = own.filter(({ role }) => role === "zygote");
  if (target === undefined) throw new Error("the zygote has no process");
  signalExactly(target, "SIGKILL");
  await waitFor(() => !own.some(isRunning), "its processes are gone");
  expect((await sandbox.gone).code).toBe("sandbox_died");
  await waitFor(() => gone.length > 0, "it is told");
  expect(gone).toEqual(["z-1"]);
  // What was not forked from it lives on, and what asks for it gets the root instead.
  await bench.call(other);
  const next = await bench.create({ zygoteId: "z-1" });
  await bench.call(next);
  expect(next.origin).toBe("fresh");
  await Promise.all([other.destroy(), next.destroy(), sandbox.destroy()]);
  await bench.expectAtRest(rest);
});

/** The root zygote and those of the import cache: a child that was just forked shares its zygote's name and cgroup. */
function zygotes(): WorkerProcess[] {
  const all = processesBelow(process.pid).filter(({ role }) => role === "zygote");
  const cgroups = new Map(all.map(({ pid }) => [pid, cgroupsOf(pid)]));
  return all.filter(({ pid, parent }) => cgroups.get(pid) !== cgroups.get(parent));
}

/** The zygote that was made last: children come after their parents. */
async function newest(count: number): Promise<WorkerProcess> {
  const all = await waitFor(() => {
    const found = zygotes();
    return found.length === count ? found : null;
  }, `there are ${count} zygotes`);
  const last = all.at(-1);
  if (last === undefined) throw new Error("there is no zygote");
  return last;
}

async function expectNextWorks(): Promise<void> {
  const next = await bench.create();
  await bench.call(next);
  await next.destroy();
}

test("one that is killed while it imports fails its own creation alone", async () => {
  const rest = await bench.atRest();
  const dir = addPackage(bench, "olasleep", "import time\ntime.sleep(1000)\n");
  const made = bench.pool.createZygote(null, { id: "z-i", packages: [dir], imports: ["olasleep"] });
  const failed = made.then(
    () => null,
    (error: unknown) => (error instanceof OlError ? error.code : error),
  );
  signalExactly(await newest(2), "SIGKILL");
  expect(await failed).toBe("sandbox_create");
  await expectNextWorks();
  const again = { id: "z-i", packages: [], imports: ["decimal"] };
  await bench.pool.createZygote(null, again);
  await bench.pool.destroyZygote("z-i");
  await bench.expectAtRest(rest);
});

test("one that is killed while it forks fails no call", async () => {
  const rest = await bench.atRest();
  // Each fork takes long enough to be hit.
  const dir = addPackage(
    bench,
    "olslowfork",
    "import os, time\nos.register_at_fork(before=lambda: time.sleep(0.3))\n",
  );
  await bench.pool.createZygote(null, { id: "z-f", packages: [dir], imports: ["olslowfork"] });
  const target = await newest(2);
  const taken = [bench.create({ zygoteId: "z-f" }), bench.create({ zygoteId: "z-f" })];
  signalExactly(target, "SIGKILL");
  for (const sandbox of await Promise.all(taken)) {
    await bench.call(sandbox);
    expect(sandbox.origin).toBe("fresh");
    await sandbox.destroy();
  }
  await bench.expectAtRest(rest);
});

test("one that is killed while a call runs on it fails this call alone", async () => {
  const rest = await bench.atRest();
  await bench.pool.createZygote(null, { id: "z-b", packages: [], imports: ["decimal"] });
  const code = addCode(bench, "busy", "import time\ndef handler(event):\n    time.sleep(1000)\n");
  const busy = await bench.create({ ...code, zygoteId: "z-b" });
  const other = await bench.create();
  const running = busy.call(Buffer.from("null"), 60_000).then(
    () => null,
    (error: unknown) => (error instanceof OlError ? error.code : error),
  );
  signalExactly(await newest(2), "SIGKILL");
  expect(await running).toBe("sandbox_died");
  await bench.call(other);
  await expectNextWorks();
  await Promise.all([busy, other].map((sandbox) => sandbox.destroy()));
  await bench.expectAtRest(rest);
});

test("a parent that is killed while its child imports fails both, nobody else", async () => {
  const rest = await bench.atRest();
  const dir = addPackage(bench, "olbsleep", "import time\ntime.sleep(1000)\n");
  await bench.pool.createZygote(null, { id: "z-q", packages: [], imports: ["decimal"] });
  const parent = await newest(2);
  const made = bench.pool.createZygote("z-q", {
    id: "z-r",
    packages: [dir],
    imports: ["olbsleep"],
  });
  const failed = made.then(
    () => null,
    (error: unknown) => (error instanceof OlError ? error.code : error),
  );
  await newest(3);
  signalExactly(parent, "SIGKILL");
  expect(await failed).toBe("sandbox_create");
  await expectNextWorks();
  await waitFor(() => zygotes().length === 1, "both are gone");
  await bench.expectAtRest(rest);
});

test("a parent that is killed takes its children and all their sandboxes along, nobody else", async () => {
  const gone: string[] = [];
  bench.pool.onZygoteGone((id) => gone.push(id));
  const rest = await bench.atRest();
  await bench.pool.createZygote(null, { id: "z-p", packages: [], imports: ["decimal"] });
  const parent = await newest(2);
  await bench.pool.createZygote("z-p", { id: "z-c", packages: [], imports: ["sqlite3"] });
  const onParent = await bench.create({ zygoteId: "z-p" });
  const onChild = await bench.create({ zygoteId: "z-c" });
  const other = await bench.create();
  for (const sandbox of [onParent, onChild, other]) await bench.call(sandbox);
  signalExactly(parent, "SIGKILL");
  expect((await onParent.gone).code).toBe("sandbox_died");
  expect((await onChild.gone).code).toBe("sandbox_died");
  await waitFor(() => gone.length === 2, "both are told of");
  expect(gone.toSorted()).toEqual(["z-c", "z-p"]);
  await bench.call(other);
  await expectNextWorks();
  await Promise.all([onParent, onChild, other].map((sandbox) => sandbox.destroy()));
  await bench.expectAtRest(rest);
});
