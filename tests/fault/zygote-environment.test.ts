/** What a package finds in its environment when it is imported: the same with and without a zygote. */

import { afterAll, beforeAll, expect, test } from "bun:test";

import type { SandboxOrigin } from "../../src/sandbox/contract.ts";
import { EngineBench } from "./engine-bench.ts";
import { addCode, addPackage } from "./package-fixtures.ts";

const SETTINGS = { OMP_NUM_THREADS: "4", GREETING: "hello" };
const PACKAGE = "import os\nFOUND = dict(os.environ)\n";
const LAMBDA = `import os
import olenv
AT_LOAD = dict(os.environ)
def handler(event):
    return [olenv.FOUND, AT_LOAD, dict(os.environ)]
`;
const PLAIN = `import os
AT_LOAD = dict(os.environ)
def handler(event):
    return [AT_LOAD, dict(os.environ)]
`;
const WHILE_IMPORTING = {
  HOME: "/tmp",
  MPLCONFIGDIR: "/tmp",
  OPENBLAS_NUM_THREADS: "1",
  MKL_NUM_THREADS: "1",
  ...SETTINGS,
};

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open({ env: SETTINGS });
});
afterAll(() => bench.close());

test.each<SandboxOrigin>(["fresh", "zygote"])("in a sandbox that is %s", async (origin) => {
  const rest = await bench.atRest();
  const dir = { dir: "olenv", modules: ["olenv"] };
  if (origin === "fresh") addPackage(bench, "olenv", PACKAGE);
  const zygoteId = origin === "fresh" ? null : "z-env";
  if (zygoteId !== null) {
    await bench.pool.createZygote(null, { id: zygoteId, packages: [dir], imports: ["olenv"] });
  }
  const code = addCode(bench, `env-${origin}`, LAMBDA);
  const sandbox = await bench.create({ ...code, zygoteId, packages: [dir], env: SETTINGS });
  const { body } = await sandbox.call(Buffer.from("null"), 10_000);
  expect(sandbox.origin).toBe(origin);
  // What the settings give wins, and is all that the handler has.
  expect(JSON.parse(Buffer.from(body).toString())).toEqual([
    WHILE_IMPORTING,
    WHILE_IMPORTING,
    SETTINGS,
  ]);
  await sandbox.destroy();
  if (zygoteId !== null) await bench.pool.destroyZygote(zygoteId);
  await bench.expectAtRest(rest);
});

test("a lambda without packages never has more than its settings", async () => {
  const sandbox = await bench.create({ ...addCode(bench, "env-plain", PLAIN), env: SETTINGS });
  const { body } = await sandbox.call(Buffer.from("null"), 10_000);
  expect(JSON.parse(Buffer.from(body).toString())).toEqual([SETTINGS, SETTINGS]);
  await sandbox.destroy();
});
