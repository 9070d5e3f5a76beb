/**
 * Worker processes that share a packages directory, without a lock: two of one cluster, and one of another
 * cluster. Whoever asks them for the same packages at the same moment gets the same, and nothing is left over.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePorts } from "../helpers/free-port.ts";
import { expectNoLeaks, leakSnapshot } from "../helpers/leaks.ts";
import { olDone } from "../helpers/ol.ts";
import { packageLinks, type PackageLinks } from "../helpers/package-links.ts";
import { tempDir, type TempDir } from "../helpers/temp-dir.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(180_000));

/** What is asked for at once: wheels, a wheel in common, and a source distribution. */
const SETS = [["olone"], ["olone", "oltwo"], ["oltwo", "olsource"]] as const;
const SETTINGS = {
  network: "none",
  registry_cache_ms: 0,
  installer_limits: { mem_mb: 512, procs: 32, runtime_sec: 60, scratch_mb: 64 },
};

let links: PackageLinks;
let temp: TempDir;
let before: ReturnType<typeof leakSnapshot>;
/** Of the first cluster, which has two workers, and of the second. */
let clusters: readonly string[];
let ports: readonly number[];

const packagesDir = () => join(temp.path, "packages");
const entries = (dir: string) => readdirSync(join(packagesDir(), dir)).toSorted();
const installed = () => entries("").filter((name) => !name.startsWith("."));

/** Adds a lambda that tells which copy of each of its modules it uses, to both clusters. */
function lambda(name: string, modules: readonly string[]): void {
  const files = modules.map((module) => `${module}.__file__`).join(", ");
  for (const cluster of clusters) {
    const dir = join(cluster, "registry", name);
    mkdirSync(dir, { recursive: true });
    writeFileSync(
      join(dir, "lambda_func.py"),
      `import ${modules.join(", ")}\ndef handler(event):\n    return [${files}]\n`,
    );
    writeFileSync(join(dir, "packages.txt"), modules.join("\n"));
  }
}

async function call(port: number, name: string): Promise<string> {
  const url = `http://127.0.0.1:${port}/run/${name}`;
  const response = await fetch(url, { method: "POST", body: "null" });
  return `${response.status} ${await response.text()}`;
}

/** What is there is whole, and each distribution is there once. */
function expectWhole(names: readonly string[]): void {
  expect(entries(".staging")).toEqual([]);
  const dirs = installed();
  expect(dirs.map((dir) => dir.split("-")[0]!)).toEqual(names.toSorted());
  for (const dir of dirs) {
    const record = JSON.parse(readFileSync(join(packagesDir(), dir, ".package.json"), "utf8"));
    expect(record).toMatchObject({ name: dir.split("-")[0]!, modules: [dir.split("-")[0]!] });
    expect(existsSync(join(packagesDir(), dir, `${record.name}.py`))).toBe(true);
  }
}

beforeAll(async () => {
  before = leakSnapshot();
  temp = tempDir("ol-shared-");
  links = packageLinks();
  mkdirSync(packagesDir(), { mode: 0o700 });
  const firstPort = await freePorts(3);
  ports = [firstPort, firstPort + 1, firstPort + 2];
  clusters = [temp.join("one"), temp.join("two")];
  for (const [index, cluster] of clusters.entries()) {
    const count = index === 0 ? 2 : 1;
    await olDone(["new", `--cluster=${cluster}`]);
    const settings = JSON.stringify({ ...SETTINGS, Pkgs_dir: packagesDir() });
    await olDone(["setconf", `--cluster=${cluster}`, settings]);
    const port = ports[index * 2]!;
    const args = [`--cluster=${cluster}`, `--port=${port}`, `--num-workers=${count}`];
    await olDone(["workers", ...args]);
  }
});
afterAll(async () => {
  for (const cluster of clusters) await olDone(["kill", `--cluster=${cluster}`]);
  links.remove();
  await expectNoLeaks(before, { marks: [temp.path] });
  temp.remove();
});

test("three workers that install the same at once use the same, and leave it there once", async () => {
  links.pack("wheel.py", "olone", "");
  links.pack("wheel.py", "oltwo", "");
  links.pack("sdist.py", "olsource", "");
  for (const [index, modules] of SETS.entries()) lambda(`set-${index}`, modules);
  const calls = SETS.map((_, index) => ports.map((port) => call(port, `set-${index}`)));
  for (const [index, answers] of (
    await Promise.all(calls.map((all) => Promise.all(all)))
  ).entries()) {
    expect(answers).toEqual(ports.map(() => answers[0]!));
    expect(answers[0]).toStartWith("200 ");
    for (const module of SETS[index]!) {
      const dir = installed().find((name) => name.startsWith(`${module}-`));
      expect(answers[0]).toContain(`"/packages/${dir}/${module}.py"`);
    }
  }
  expectWhole(["olone", "oltwo", "olsource"]);
  expect(entries(".resolved").length).toBe(SETS.length);
});

test("a worker that is killed while others install the same costs its own calls alone", async () => {
  links.pack("sdist.py", "olslow", "import time\ntime.sleep(4)\n");
  lambda("slow", ["olone", "olslow"]);
  const [victim, ...others] = ports;
  const cut = call(victim!, "slow").catch(() => "cut");
  const answers = others.map((port) => call(port, "slow"));
  // Each of them has a directory of its own for it, in which pip has begun.
  await waitFor(() => {
    const staged = entries(".staging").map((dir) => join(packagesDir(), ".staging", dir, "out"));
    return staged.filter((out) => existsSync(out)).length === ports.length;
  }, "all of them install");
  process.kill(Number(readFileSync(join(clusters[0]!, "logs/worker-0.pid"), "utf8")), "SIGKILL");
  expect(await cut).toBe("cut");
  const [first, second] = await Promise.all(answers);
  expect(first).toStartWith("200 ");
  expect(second).toBe(first);
  expect(entries(".staging").length).toBe(1);
  await olDone(["workers", `--cluster=${clusters[0]}`, `--port=${victim}`]);
  expect(await call(victim!, "slow")).toBe(first ?? "");
  expectWhole(["olone", "oltwo", "olsource", "olslow"]);
});
