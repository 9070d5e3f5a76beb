/** Requests that no zygote takes: they fail alone, and the root zygote goes on with all its sandboxes. */

import { afterAll, beforeAll, expect, test } from "bun:test";

import { EngineBench } from "./engine-bench.ts";

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

async function expectOthersUnharmed(attempt: () => Promise<unknown>, words: string): Promise<void> {
  const rest = await bench.atRest();
  const root = await bench.pool.rootPid();
  const sandbox = await bench.create();
  await bench.call(sandbox);
  expect(attempt()).rejects.toThrow(words);
  await bench.call(sandbox);
  await bench.cycle();
  expect(await bench.pool.rootPid()).toBe(root);
  await sandbox.destroy();
  await bench.expectAtRest(rest);
}

test("a module name of 150 kB fails its own zygote alone", async () => {
  const imports = ["m".repeat(150_000)];
  await expectOthersUnharmed(
    () => bench.pool.createZygote(null, { id: "z-long", packages: [], imports }),
    "Cannot ask a zygote",
  );
});

test("a thousand distributions fail their own zygote alone", async () => {
  const packages = Array.from({ length: 1_000 }, (_, index) => ({
    dir: `${"distribution".repeat(12)}-${index}`,
    modules: [],
  }));
  await expectOthersUnharmed(
    () => bench.pool.createZygote(null, { id: "z-many", packages, imports: [] }),
    "Cannot ask a zygote",
  );
});
