/**
 * A host that runs out of disk, of descriptors, of processes, or becomes read-only, for real and
 * through the compiled executable: FAULTS E, row 4.
 */

import { afterEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import { olDone } from "../helpers/ol.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker, type WorkerFigures } from "../helpers/worker.ts";
import { processesBelow } from "../helpers/worker-processes.ts";

/** What a call may end with while the host is short of something. */
const REFUSED = [429, 500, 502, 503];

/** A connection that stays open would keep a descriptor of the worker. */
const ONE_CALL = { headers: { connection: "close" } } as const;

let worker: TestWorker;
let undo: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const step of undo.toReversed()) await step();
  undo = [];
  await worker.stop();
});

function run(...argv: string[]): void {
  const child = Bun.spawnSync(argv, { stdout: "ignore", stderr: "pipe" });
  if (child.exitCode !== 0) throw new Error(`${argv.join(" ")}: ${child.stderr.toString()}`);
}

const workersDir = (): string => join(worker.cluster, "workers");

/** Starts a worker whose own directory is a small file system of its own. */
async function onSmallDisk(settings: Readonly<Record<string, unknown>> = {}): Promise<void> {
  worker = await startWorker({ registry_cache_ms: 50, ...settings });
  await olDone(["kill", `--cluster=${worker.cluster}`]);
  run("mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "small", workersDir());
  undo.push(async () => {
    await olDone(["kill", `--cluster=${worker.cluster}`]);
    run("umount", workersDir());
  });
  await olDone(["workers", `--cluster=${worker.cluster}`, `--port=${worker.port}`]);
}

async function callsOf(names: readonly string[]): Promise<CallTally> {
  const tally = new CallTally();
  for (const name of names) await nonceCall(worker, name, tally, ONE_CALL);
  expect(tally.wrong).toEqual([]);
  return tally;
}

function makeLambdas(prefix: string, count: number, code = NONCE_LAMBDA): string[] {
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
  for (const name of names) worker.lambda(name, code);
  return names;
}

function expectDiscreet(tally: CallTally): void {
  for (const text of [...tally.texts.values()].flat()) expect(text).not.toContain(worker.cluster);
}

describe("a worker's directory", () => {
  test("that is full fails new code alone, and works again with space", async () => {
    await onSmallDisk();
    expect((await callsOf(["warm"].concat(makeLambdas("warm", 0)))).count(404)).toBe(1);
    worker.lambda("steady", NONCE_LAMBDA);
    expect((await callsOf(["steady"])).others(200)).toEqual([]);
    const fill = join(workersDir(), "fill");
    const { bavail, bsize } = statfsSync(workersDir());
    writeFileSync(fill, Buffer.alloc(bavail * bsize - 4096));
    const large = `${NONCE_LAMBDA}#${"x".repeat(64 * 1024)}\n`;
    const tally = await callsOf(makeLambdas("large", 5, large));
    expect(tally.others(...REFUSED)).toEqual([]);
    expectDiscreet(tally);
    expect((await callsOf(["steady", "steady"])).others(200)).toEqual([]);
    rmSync(fill);
    expect((await callsOf(makeLambdas("large", 5, large))).others(200)).toEqual([]);
  });

  test("that became read-only fails new code alone, and works again after", async () => {
    await onSmallDisk();
    worker.lambda("steady", NONCE_LAMBDA);
    expect((await callsOf(["steady"])).others(200)).toEqual([]);
    // Outputs are open for writing, so only the mount can be made read-only.
    run("mount", "--bind", workersDir(), workersDir());
    undo.push(async () => {
      await olDone(["kill", `--cluster=${worker.cluster}`]);
      run("umount", workersDir());
    });
    run("mount", "-o", "remount,bind,ro", workersDir());
    const tally = await callsOf(makeLambdas("new", 5));
    expect(tally.others(...REFUSED, 200)).toEqual([]);
    expectDiscreet(tally);
    expect((await callsOf(["steady"])).others(200)).toEqual([]);
    run("mount", "-o", "remount,bind,rw", workersDir());
    expect((await callsOf(makeLambdas("new", 5))).others(200)).toEqual([]);
  });
});

test("a worker with few descriptors refuses what it cannot make and serves on", async () => {
  worker = await startWorker({ registry_cache_ms: 50, handler_cache_size: 0 });
  // What it keeps in stock for sandboxes is filled up by these.
  await Promise.all(makeLambdas("warm-up", 60).map((name) => callsOf([name])));
  const open = readdirSync(`/proc/${worker.pid()}/fd`).length;
  run("prlimit", `--pid=${worker.pid()}`, `--nofile=${open + 40}:${open + 40}`);
  worker.lambda("steady", NONCE_LAMBDA);
  for (let round = 0; round < 3; round++) {
    const tally = new CallTally();
    const names = makeLambdas(`many-${round}`, 60);
    const calls = names.map((name) =>
      nonceCall(worker, name, tally, { sleepSec: 0.3, ...ONE_CALL }),
    );
    await Promise.all(calls);
    expect(tally.others(...REFUSED, 200, 0)).toEqual([]);
    expect(tally.wrong).toEqual([]);
    expectDiscreet(tally);
    await waitFor(async () => {
      const answer = await fetch(`http://127.0.0.1:${worker.port}/stats`, ONE_CALL);
      if (!answer.ok) return false;
      const { sandboxes, memory } = (await answer.json()) as WorkerFigures;
      return sandboxes.live === 0 && memory.reservedBytes === 0;
    }, "everything is given back");
    expect((await callsOf(["steady", "steady"])).others(200)).toEqual([]);
  }
});

/** Pipes of a process: a zygote that rests has one, which wakes it when a child ends. */
function pipesOf(pid: number): number {
  const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  return targets.filter((target) => target.startsWith("pipe:")).length;
}

test("a root zygote that cannot fork fails new sandboxes alone, and works again after", async () => {
  worker = await startWorker({ registry_cache_ms: 50, handler_cache_size: 0, network: "none" });
  const zygote = processesBelow(worker.pid()).find(({ role }) => role === "zygote");
  const own = readFileSync(`/proc/${zygote?.pid}/cgroup`, "utf8").split("\n");
  const path = own.flatMap((line) => /^\d+:pids:(.*)$/.exec(line)?.[1] ?? [])[0];
  const unified = own.flatMap((line) => /^0::(.*)$/.exec(line)?.[1] ?? [])[0];
  const file = [`/sys/fs/cgroup/pids${path}/pids.max`, `/sys/fs/cgroup${unified}/pids.max`].find(
    (candidate) => existsSync(candidate),
  );
  if (file === undefined) throw new Error("the zygote's limit of processes is nowhere to be found");
  const before = readFileSync(file, "utf8").trim();
  writeFileSync(file, "1");
  // The first few find spares in stock.
  const tally = await callsOf(makeLambdas("new", 20));
  expect(tally.others(200, 503)).toEqual([]);
  expect(tally.count(503)).toBeGreaterThan(0);
  writeFileSync(file, before);
  await waitFor(() => pipesOf(zygote?.pid ?? 0) === 2, "it holds no pipe of a failed fork");
  await waitFor(async () => (await callsOf(["new-0"])).count(200) === 1, "a sandbox is made again");
  expect((await callsOf(makeLambdas("new", 20))).others(200)).toEqual([]);
  await waitFor(async () => (await worker.stats()).memory.reservedBytes === 0, "nothing is kept");
});
