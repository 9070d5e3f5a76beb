/** Zygotes of the import cache that are killed: FAULTS E, row 2. */

import { afterAll, beforeAll, expect, test } from "bun:test";

import { waitFor } from "../helpers/wait-for.ts";
import { isRunning, processesBelow, signalExactly } from "../helpers/worker-processes.ts";
import { EngineBench } from "./engine-bench.ts";

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
