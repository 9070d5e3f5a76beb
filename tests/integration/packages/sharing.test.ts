/** Who waits for whom in the install cache: lambdas that take turns, workers that share a directory, figures. */

import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scaled, waitFor } from "../../helpers/wait-for.ts";
import { canInstall, Workbench, type Wheel } from "./fixture.ts";
import type { WorkerOutcome, WorkerPlan } from "./one-worker.ts";

// pip alone takes seconds on a busy machine.
setDefaultTimeout(scaled(120_000));

const WHEELS: readonly Wheel[] = ["a", "b", "c"].map((part) => ({
  name: `lib-${part}`,
  version: "1.0",
  files: { [`lib${part}/__init__.py`]: "" },
}));

describe.skipIf(!canInstall)("the install cache", () => {
  let bench: Workbench;
  let env: NodeJS.ProcessEnv;
  beforeEach(() => {
    bench = new Workbench();
    env = bench.offline(WHEELS);
  });
  afterEach(() => {
    bench.close();
  });
  const code = (packages: string) => bench.code({ "packages.txt": packages });
  const installed = () => readdirSync(bench.packagesDir).filter((name) => !name.startsWith("."));
  const staged = () => readdirSync(join(bench.packagesDir, ".staging"));
  const plan = (more: Partial<WorkerPlan>): WorkerPlan => ({
    packagesDir: bench.packagesDir,
    env: env as Record<string, string>,
    packages: "lib-a\n",
    pause: null,
    startAfter: null,
    ...more,
  });
  const spawn = (what: WorkerPlan) =>
    Bun.spawn([process.execPath, join(import.meta.dir, "one-worker.ts"), JSON.stringify(what)], {
      env: { ...process.env, TMPDIR: bench.root },
      stdout: "pipe",
      stderr: "inherit",
    });
  const outcome = async (child: { readonly stdout: ReadableStream }) =>
    JSON.parse(await new Response(child.stdout).text()) as WorkerOutcome;

  test("a lambda whose installations never end holds up nobody but itself", async () => {
    const installer = await bench.open({ env });
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    let held = 0;
    bench.runner.before = async (spec) => {
      if (spec.files["requirements.txt"]?.includes("lib-a") !== true) return;
      held += 1;
      await released;
    };
    const hostile = ["lib-a<9", "lib-a<8", "lib-a<7"].map((line, index) =>
      installer.ensure(code(line), `hostile/${index}/x`),
    );
    await waitFor(() => held === 1, "the hostile lambda's first installation runs");
    // All its other versions wait before these.
    await installer.ensure(code("lib-b"), "good/1/x");
    await installer.ensure(code("lib-c"), "other/1/x");
    expect(held).toBe(1);
    release();
    await Promise.all(hostile);
  });

  test("a lambda does not wait behind another one's turn for what both declare", async () => {
    const installer = await bench.open({ env });
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    let isHeld = false;
    bench.runner.before = async (spec) => {
      if (spec.files["requirements.txt"]?.includes("lib-a<9") !== true) return;
      isHeld = true;
      await released;
    };
    const first = installer.ensure(code("lib-a<9"), "hostile/1/x");
    await waitFor(() => isHeld, "the hostile lambda's first installation runs");
    const second = installer.ensure(code("lib-b"), "hostile/2/x");
    await installer.ensure(code("lib-b"), "good/1/x");
    release();
    await Promise.all([first, second]);
    expect(bench.runner.modes.filter((mode) => mode === "resolve")).toHaveLength(2);
  });

  test("counts calls by whether pip had to run for them, at once or one by one", async () => {
    const installer = await bench.open({ env });
    await installer.ensure(code("# nothing"), "none/1/x");
    await installer.ensure(code("# nothing"), "none/1/x");
    expect(installer.stats()).toEqual({ hits: 0, misses: 0, failures: 0 });
    const dir = code("lib-a");
    await Promise.all([1, 2, 3].map(() => installer.ensure(dir, "one/1/x")));
    expect(installer.stats()).toEqual({ hits: 0, misses: 3, failures: 0 });
    await Promise.all([
      installer.ensure(dir, "one/1/x"),
      installer.ensure(dir, "two/1/x"),
      installer.ensure(code("lib-b"), "three/1/x"),
    ]);
    expect(installer.stats()).toEqual({ hits: 2, misses: 4, failures: 0 });
  });

  test("two workers that resolve at the same time go on with the same versions", async () => {
    const links = env["PIP_FIND_LINKS"] ?? "";
    const resolved = join(bench.root, "first-has-resolved");
    const second = join(bench.root, "second-has-resolved");
    const kept = `${join(bench.packagesDir, ".resolved")}/`;
    // The second one asks the index when it has a newer version, and is held until the first has kept its answer.
    const one = spawn(plan({ pause: { mode: "resolve", done: resolved, until: second } }));
    const go = join(bench.root, "newer-version-is-there");
    const two = spawn(
      plan({ startAfter: go, pause: { mode: "resolve", done: second, until: kept } }),
    );
    await waitFor(() => existsSync(resolved), "the first has resolved", 60_000);
    const newer: Wheel = { name: "lib-a", version: "2.0", files: { "liba/__init__.py": "" } };
    bench.build([newer], links);
    writeFileSync(go, "");
    const [first, other] = await Promise.all([outcome(one), outcome(two)]);
    expect(existsSync(second)).toBe(true);
    expect(first.dirs[0]).toStartWith("lib-a-1.0-");
    expect(other).toEqual(first);
    expect(installed()).toEqual([...first.dirs]);
    expect(staged()).toEqual([]);
  });

  test("a worker killed while it installs leaves nothing half-installed and nothing in the way", async () => {
    const done = join(bench.root, "installed");
    const never = join(bench.root, "never");
    const child = spawn(plan({ pause: { mode: "wheels", done, until: never } }));
    await waitFor(() => existsSync(done), "pip has installed", 60_000);
    child.kill("SIGKILL");
    await child.exited;
    expect(installed()).toEqual([]);
    expect(staged()).toHaveLength(1);
    const installer = await bench.open({ env });
    expect(staged()).toEqual([]);
    const found = await installer.ensure(code("lib-a"), "lambda/1/x");
    expect(await bench.python(found, "import liba; print(1)")).toBe("1");
    writeFileSync(never, "");
  });
});
