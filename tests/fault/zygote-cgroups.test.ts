/** Ends and cgroups of children of import-cache zygotes, whose packages may keep what they were given for a while. */

import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";

import type { Sandbox } from "../../src/sandbox/contract.ts";
import { Zygote } from "../../src/sandbox/sock/zygote.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { cgroupsOf, processesBelow } from "../helpers/worker-processes.ts";
import { EngineBench } from "./engine-bench.ts";
import { addPackage, FIND_ZYGOTE } from "./package-fixtures.ts";

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

/** Names of the cgroups of all spares and handlers that run now, by their zygote's process id. */
function cgroupsByZygote(): Map<number, Set<string>> {
  const found = new Map<number, Set<string>>();
  for (const { pid, parent, role } of processesBelow(process.pid)) {
    if (role !== "spare" && role !== "handler") continue;
    const name = /\/(cg-\d+)$/m.exec(cgroupsOf(pid))?.[1];
    if (name !== undefined) found.set(parent, (found.get(parent) ?? new Set<string>()).add(name));
  }
  return found;
}

test("a cgroup goes from one child of a zygote to another, and to nobody else's", async () => {
  const rest = await bench.atRest();
  const root = processesBelow(process.pid).find(({ role }) => role === "zygote")?.pid;
  for (const id of ["z-first", "z-second"]) {
    await bench.pool.createZygote(null, { id, packages: [], imports: ["decimal"] });
  }
  const seen = new Map<number, Set<string>>();
  let looks = 0;
  const note = (): void => {
    for (const [zygote, names] of cgroupsByZygote()) {
      looks += 1;
      seen.set(zygote, new Set([...(seen.get(zygote) ?? []), ...names]));
    }
  };
  const rounds = 12;
  for (let round = 0; round < rounds; round++) {
    for (const zygoteId of ["z-first", null, "z-second"]) {
      const sandbox = await bench.create({ zygoteId });
      note();
      await bench.call(sandbox);
      await sandbox.destroy();
    }
  }
  expect(looks).toBeGreaterThan(rounds);
  const cached = [...seen].filter(([zygote]) => zygote !== root).map(([, names]) => names);
  expect(cached).toHaveLength(2);
  const [first, second] = cached as [Set<string>, Set<string>];
  expect([...first].filter((name) => second.has(name))).toEqual([]);
  // Each call has a child of its own, and there are spares.
  for (const names of cached) expect(names.size).toBeLessThan(rounds);
  // The pool's own went to children of zygotes, but none ever came back.
  const later = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const sandbox = await bench.create();
    for (const name of cgroupsByZygote().get(root ?? 0) ?? []) later.add(name);
    await sandbox.destroy();
  }
  expect([...later].filter((name) => first.has(name) || second.has(name))).toEqual([]);

  await bench.pool.destroyZygote("z-first");
  await bench.pool.destroyZygote("z-second");
  await bench.expectAtRest(rest);
});

const UNWILLING = `${FIND_ZYGOTE}
if zygote is not None:
    zygote.kill = lambda request, fds: None
`;

test("a zygote that does not end its children when it is asked is not asked again", async () => {
  const dir = addPackage(bench, "olunwilling", UNWILLING);
  const rest = await bench.atRest();
  const name = "z-unwilling";
  await bench.pool.createZygote(null, { id: name, packages: [dir], imports: ["olunwilling"] });
  const sandboxes: Sandbox[] = [];
  for (let count = 0; count < 3; count++) {
    sandboxes.push(await bench.create({ zygoteId: name, packages: [dir] }));
  }
  for (const sandbox of sandboxes) await bench.call(sandbox);
  expect(sandboxes.map(({ origin }) => origin)).toEqual(["zygote", "zygote", "zygote"]);

  using asked = spyOn(Zygote.prototype, "kill");
  for (const [index, sandbox] of sandboxes.entries()) {
    await sandbox.destroy();
    const left = sandboxes.length - 1 - index;
    await waitFor(() => bench.pool.liveSandboxes(name) === left, "it is gone");
  }
  expect(asked.mock.calls).toHaveLength(1);
  await bench.pool.destroyZygote(name);
  await bench.expectAtRest(rest);
});

const LYING = `${FIND_ZYGOTE}
if zygote is not None:
    zygote.kill = lambda request, fds: zygote.say(event="exit", id=request["id"], signal=9, code=0)
`;

test("a zygote that says that it ended a child and did not is ended with it", async () => {
  const dir = addPackage(bench, "ollying", LYING);
  const gone: string[] = [];
  bench.pool.onZygoteGone((id) => gone.push(id));
  const rest = await bench.atRest();
  const name = "z-lying";
  await bench.pool.createZygote(null, { id: name, packages: [dir], imports: ["ollying"] });
  const sandbox = await bench.create({ zygoteId: name, packages: [dir] });
  await bench.call(sandbox);
  expect(sandbox.origin).toBe("zygote");
  await sandbox.destroy();
  // The child's true end is the second that it tells of.
  await waitFor(() => gone.includes(name), "the zygote is gone");
  await bench.expectAtRest(rest);
});
