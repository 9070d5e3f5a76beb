/**
 * Packages as a user of a worker meets them: mistakes in packages.txt, hostile set-up scripts, a worker that
 * dies while it installs. The index is a directory of wheels and source distributions made for the purpose.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { olDone } from "../helpers/ol.ts";
import { packageLinks, type PackageLinks } from "../helpers/package-links.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";

// pip takes seconds on a busy machine, and some installations are to run into their limits.
setDefaultTimeout(scaled(180_000));

/** Long enough for an honest installation on a busy machine, short enough to be run into. */
const RUNTIME_SEC = 20;
const INSTALLER_LIMITS = { mem_mb: 512, procs: 32, runtime_sec: RUNTIME_SEC, scratch_mb: 64 };

let links: PackageLinks;
let worker: TestWorker;

const pack: PackageLinks["pack"] = (...what) => {
  links.pack(...what);
};

beforeAll(async () => {
  links = packageLinks();
  pack("wheel.py", "olgood", "V = 'good'\n");
  pack("wheel.py", "olgood", "V = 'better'\n", "2.0");
  worker = await startWorker({
    network: "none",
    installer_limits: INSTALLER_LIMITS,
    registry_cache_ms: 0,
  });
});
afterAll(async () => {
  await worker.stop();
  links.remove();
});

const packagesDir = () => join(worker.cluster, "packages");
const installed = () => readdirSync(packagesDir()).filter((name) => !name.startsWith("."));
const staged = () => readdirSync(join(packagesDir(), ".staging"));

/** Writes a lambda that returns a package's variable. */
function user(lambda: string, packages: string, module: string, variable: string): void {
  const code = `import ${module}\ndef handler(event):\n    return ${module}.${variable}\n`;
  worker.lambda(lambda, code, { "packages.txt": packages });
}

test.each([
  ["a line that is an option", "--index-url http://x.test", ["line 1 of packages.txt", "options"]],
  ["an unknown package", "olnowhere", ["No matching distribution found for olnowhere"]],
  ["a version that there is not", "olgood==9", ["olgood==9", "No matching distribution"]],
  ["a conflict", "olgood==1.0\nolgood==2.0", ["conflict"]],
  ["a module's name of 150,000 characters", `${"a".repeat(150_000)}:olgood`, ["line 1", "1024"]],
])("%s is a 500 in pip's words, and the corrected file works", async (what, text, words) => {
  const lambda = `wrong-${what.replaceAll(/[^a-z]+/g, "-")}`;
  user(lambda, `${text}\n`, "olgood", "V");
  const failed = await worker.call(lambda);
  expect(failed.status).toBe(500);
  for (const word of words) expect(failed.text).toContain(word);
  expect(failed.text).not.toContain(worker.cluster);
  user(lambda, "olgood==1.0\n", "olgood", "V");
  // While the packages of the new version are being installed, the old one may still answer.
  const mended = await waitFor(async () => {
    const { status: isNow, text: said } = await worker.call(lambda);
    return isNow === 200 ? said : null;
  }, "the corrected version answers");
  expect(mended).toBe('"good"');
  expect(staged()).toEqual([]);
});

test("a source distribution is built by its own script, in a sandbox", async () => {
  pack("sdist.py", "olbuilt", "import os\nassert os.getuid() == 1000\n");
  user("built", "olbuilt\n", "olbuilt", "BUILT");
  const { status, text } = await worker.call("built");
  expect([status, text]).toEqual([200, "true"]);
});

test.each([
  ["olforever", "while True: pass\n", "installer_limits.runtime_sec"],
  [
    "olfiller",
    "n = 0\nwhile True:\n    n += 1\n    open('/host/%d' % n, 'wb').write(bytes(1 << 20))\n",
    "installer_limits.scratch_mb",
  ],
  ["olhungry", "x = bytearray(1 << 30)\nx[:] = b'x' * (1 << 30)\n", "installer_limits.mem_mb"],
  [
    "olbomb",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n",
    "installer_limits.runtime_sec",
  ],
  ["olraises", "raise RuntimeError('words of the script')\n", "words of the script"],
])("a set-up script that misbehaves is a 500 that says so: %s", async (name, body, words) => {
  pack("sdist.py", name, body);
  user(name, `${name}\n`, name, "BUILT");
  user("neighbour", "olgood==1.0\n", "olgood", "V");
  const running = worker.call(name);
  expect((await worker.call("neighbour")).text).toBe('"good"');
  const { status, text } = await running;
  expect(status).toBe(500);
  expect(text).toContain(words);
  expect(installed().filter((dir) => dir.startsWith(name))).toEqual([]);
  expect(staged()).toEqual([]);
});

test("a set-up script that puts its result elsewhere moves nothing of the host", async () => {
  using victim = tempDir("ol-victim-");
  mkdirSync(victim.join("0"));
  writeFileSync(victim.join("0/secret"), "secret", { mode: 0o600 });
  Bun.spawnSync(["chown", "-R", "4321:4321", victim.path]);
  const listing = () =>
    Bun.spawnSync(["find", victim.path, "-printf", "%P %U %G %m %T@ %C@\n"]).stdout.toString();
  const was = listing();
  expect(was).toContain("0/secret 4321 4321 600");
  // The same path in the sandbox is a directory of its scratch space, so that pip goes along.
  const place = JSON.stringify(victim.path);
  pack(
    "sdist.py",
    "olmover",
    `import os\nos.makedirs(${place})\nos.rename('/host/out', '/host/away')\nos.symlink(${place}, '/host/out')\n`,
  );
  user("mover", "olmover\n", "olmover", "BUILT");
  const { status, text } = await worker.call("mover");
  expect(status).toBe(500);
  expect(text).toContain("only plain files and directories");
  expect(listing()).toBe(was);
  expect(installed().filter((dir) => dir.startsWith("olmover"))).toEqual([]);
});

test("a lambda whose installations never end does not keep others from installing", async () => {
  const names = ["olslowa", "olslowb", "olslowc"];
  for (const name of names) pack("sdist.py", name, "while True: pass\n");
  pack("wheel.py", "olother", "V = 'other'\n");
  user("hog", `${names.join("\n")}\n`, names[0]!, "BUILT");
  const hog = worker.call("hog");
  await waitFor(() => staged().length > 0, "the hostile installation runs");
  user("patient", "olother\n", "olother", "V");
  let isHogOver = false;
  const ended = hog.finally(() => {
    isHogOver = true;
  });
  expect((await worker.call("patient")).text).toBe('"other"');
  expect(isHogOver).toBe(false);
  expect((await ended).status).toBe(500);
});

test("a worker killed while it installs leaves nothing half-installed, and its successor installs", async () => {
  const name = "olwaits";
  pack("sdist.py", name, "while True: pass\n");
  user("waits", `olgood==1.0\n${name}\n`, name, "BUILT");
  for (const dir of installed()) rmSync(join(packagesDir(), dir), { recursive: true });
  const cut = worker.call("waits").catch(() => null);
  await waitFor(() => {
    const outs = staged().map((dir) => join(packagesDir(), ".staging", dir, "out"));
    return outs.some((out) => existsSync(out));
  }, "pip runs");
  process.kill(worker.pid(), "SIGKILL");
  await cut;
  expect(staged().length).toBeGreaterThan(0);
  expect(installed().filter((dir) => dir.startsWith(name))).toEqual([]);
  pack("sdist.py", name, "");
  await olDone(["workers", `--cluster=${worker.cluster}`, `--port=${worker.port}`]);
  expect(staged()).toEqual([]);
  const { status, text } = await worker.call("waits");
  expect([status, text]).toEqual([200, "true"]);
  for (const dir of installed()) {
    expect(existsSync(join(packagesDir(), dir, ".package.json"))).toBe(true);
  }
});
