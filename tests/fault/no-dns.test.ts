/**
 * Packages while names cannot be resolved: FAULTS E. Worker, index and name server are in a network
 * namespace of their own, in which the name server comes and goes.
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { OL, ol, type RunResult } from "../helpers/ol.ts";
import { PROJECT_DIR } from "../helpers/paths.ts";
import { tempDir, type TempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";

const FIXTURES = join(PROJECT_DIR, "tests/fixtures/packages");
const PYTHON = "/usr/bin/python3";
const INDEX = "index.test";
const FILES = "files.test";
const INDEX_PORT = 8000;

let site: TempDir;
let worker: TestWorker;
const running: Bun.Subprocess[] = [];

const names = (): string => site.join("names");
const resolvable = (...all: readonly string[]): void => writeFileSync(names(), all.join("\n"));

/** Starts a program that says a line once it is ready. */
async function start(...argv: string[]): Promise<Bun.Subprocess<"ignore", "pipe", "ignore">> {
  const child = Bun.spawn(argv, { stdio: ["ignore", "pipe", "ignore"] });
  running.push(child);
  const { done } = await child.stdout.getReader().read();
  if (done) throw new Error(`${argv.join(" ")} ended`);
  return child;
}

let inNamespace: readonly string[];

/** Runs `ol` in the namespace. */
const olThere = async (...args: readonly string[]): Promise<RunResult> =>
  await ol([...inNamespace.slice(1), OL, ...args], {
    program: inNamespace[0] ?? "",
    // pip waits seconds between its tries, which would only make this slow.
    env: { PIP_TRUSTED_HOST: `${INDEX} ${FILES}`, PIP_RETRIES: "1" },
  });

const callIt = async (): Promise<RunResult> =>
  await olThere("invoke", `--cluster=${worker.cluster}`, "user", "1");

function writeSite(): void {
  chmodSync(site.path, 0o755);
  const packed = Bun.spawnSync([PYTHON, join(FIXTURES, "wheel.py"), site.path, "olgood"], {
    stdin: Buffer.from("V = 'good'\n"),
  });
  if (!packed.success) throw new Error(packed.stderr.toString());
  const wheel = "olgood-1.0-py3-none-any.whl";
  mkdirSync(site.join("simple/olgood"), { recursive: true });
  const hash = new Bun.CryptoHasher("sha256").update(readFileSync(site.join(wheel))).digest("hex");
  const link = `<a href="http://${FILES}:${INDEX_PORT}/${wheel}#sha256=${hash}">${wheel}</a>`;
  writeFileSync(site.join("simple/olgood/index.html"), `<!doctype html>${link}`);
  resolvable();
}

beforeAll(async () => {
  site = tempDir("ol-site-");
  writeSite();
  worker = await startWorker({
    registry_cache_ms: 60_000,
    pip_mirror: `http://${INDEX}:${INDEX_PORT}/simple`,
  });
  await ol(["kill", `--cluster=${worker.cluster}`]);
  writeFileSync(join(worker.cluster, "base/rootfs/etc/resolv.conf"), "nameserver 127.0.0.1\n");
  const holder = "ip link set lo up && echo up && exec sleep 600";
  const { pid } = await start("/usr/bin/unshare", "--net", "/bin/sh", "-c", holder);
  inNamespace = ["/usr/bin/nsenter", `--net=/proc/${pid}/ns/net`];
  const serve = ["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", site.path];
  await start(...inNamespace, PYTHON, ...serve, String(INDEX_PORT));
  const code = "import olgood\ndef handler(event):\n    return olgood.V\n";
  worker.lambda("user", code, { "packages.txt": "olgood" });
  const started = await olThere("workers", `--cluster=${worker.cluster}`, `--port=${worker.port}`);
  if (started.exitCode !== 0) throw new Error(started.stderr);
});
afterAll(async () => {
  await ol(["kill", `--cluster=${worker.cluster}`]);
  for (const child of running.toReversed()) {
    child.kill("SIGKILL");
    await child.exited;
  }
  await worker.stop();
  site.remove();
});

const installed = (): string[] =>
  readdirSync(join(worker.cluster, "packages")).filter((name) => !name.startsWith("."));

/** Calls until pip was really run again: after a failure it is left alone for a while. */
async function failureAbout(path: string): Promise<string> {
  return await waitFor(async () => {
    const { stdout, stderr } = await callIt();
    return (stdout + stderr).includes(path) ? stdout + stderr : null;
  }, `a call fails for ${path}`);
}

test("without a name server a call fails in pip's words, and works once there is one", async () => {
  expect(await failureAbout("/simple/olgood/")).toMatch(
    /name resolution|Name or service not known/,
  );
  expect(installed()).toEqual([]);

  // It went away in the middle: the index was found, what it refers to is not.
  await start(...inNamespace, PYTHON, join(FIXTURES, "names.py"), names());
  resolvable(INDEX);
  expect(await failureAbout("/olgood-1.0-py3")).toMatch(
    /name resolution|Name or service not known/,
  );
  expect(installed()).toEqual([]);

  resolvable(INDEX, FILES);
  const answer = await waitFor(async () => {
    const result = await callIt();
    return result.exitCode === 0 ? result : null;
  }, "the next call is answered");
  expect(answer.stdout.trim()).toBe('"good"');
  expect(installed()).toHaveLength(1);
  expect(readdirSync(join(worker.cluster, "packages/.staging"))).toEqual([]);
});
