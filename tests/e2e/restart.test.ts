/** `ol workers --restart`: every worker is replaced on its port, and no caller notices. */

import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePorts } from "../helpers/free-port.ts";
import { expectNoLeaks, type LeakSnapshot, leakSnapshot } from "../helpers/leaks.ts";
import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import { ol, olDone } from "../helpers/ol.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";
import type { Answer } from "../helpers/worker.ts";

setDefaultTimeout(scaled(120_000));

const CLIENTS = 8;

let temp: TempDir;
let cluster = "";
let port = 0;
let before: LeakSnapshot;

beforeEach(async () => {
  before = leakSnapshot();
  temp = tempDir("ol-restart-");
  cluster = temp.join("cluster");
  port = await freePorts(2);
  await olDone(["new", `--cluster=${cluster}`]);
  mkdirSync(join(cluster, "registry/nonce"));
  writeFileSync(join(cluster, "registry/nonce/lambda_func.py"), NONCE_LAMBDA);
});

afterEach(async () => {
  try {
    await olDone(["kill", `--cluster=${cluster}`]);
    await expectNoLeaks(before, { marks: [temp.path] });
  } finally {
    temp.remove();
  }
});

const start = (count: number): Promise<string> =>
  olDone(["workers", `--cluster=${cluster}`, `--port=${port}`, `--num-workers=${count}`]);

const restart = (): Promise<string> => olDone(["workers", `--cluster=${cluster}`, "--restart"]);

const pidOf = (index: number): number =>
  Number(readFileSync(join(cluster, `logs/worker-${index}.pid`), "utf8"));

/** Whether a process is there and is no zombie. */
function isRunning(pid: number): boolean {
  const path = `/proc/${pid}/stat`;
  const stat = existsSync(path) ? readFileSync(path, "latin1") : "";
  return stat !== "" && stat.slice(stat.lastIndexOf(")") + 2)[0] !== "Z";
}

/** Calls one worker's port. */
const caller = (index: number) => ({
  call: async (name: string, event: unknown = null, init: RequestInit = {}): Promise<Answer> => {
    const url = `http://127.0.0.1:${port + index}/run/${name}`;
    const response = await fetch(url, { method: "POST", body: JSON.stringify(event), ...init });
    return { status: response.status, text: await response.text(), headers: response.headers };
  },
});

/** Clients that call without a pause, half of them over connections that they keep. */
function load(workers: number): { tally: CallTally; stop: () => Promise<void> } {
  const tally = new CallTally();
  const end = new AbortController();
  const clients = Array.from({ length: CLIENTS }, async (_, number) => {
    while (!end.signal.aborted) {
      const call = { keepalive: number % 4 < 2, sleepSec: number === 7 ? 0.3 : 0 };
      await nonceCall(caller(number % workers), "nonce", tally, call);
    }
  });
  return {
    tally,
    stop: async () => {
      end.abort();
      await Promise.all(clients);
    },
  };
}

/** Restarts both workers, again and again, and checks that each time both are other processes. */
async function replaceAll(tally: CallTally, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const old = [pidOf(0), pidOf(1)];
    const lines = (await restart()).match(/^Restarted worker-[01] at http:\/\/localhost:\d+ /gm);
    expect(lines).toHaveLength(2);
    expect([pidOf(0), pidOf(1)].filter((pid) => old.includes(pid))).toEqual([]);
    expect(old.filter(isRunning)).toEqual([]);
    const seen = tally.total;
    await waitFor(() => tally.total > seen + 50, "the successors answer");
  }
}

describe("ol workers --restart", () => {
  test("replaces two workers, three times, while 8 clients call without one error", async () => {
    await start(2);
    const { tally, stop } = load(2);
    try {
      await waitFor(() => tally.total > 50, "the clients are at it");
      await replaceAll(tally, 3);
    } finally {
      await stop();
    }
    expect({ others: tally.others(200), wrong: tally.wrong }).toEqual({ others: [], wrong: [] });
    expect((await ol(["status", `--cluster=${cluster}`])).exitCode).toBe(0);
  });

  test("lets a call end that began before, and takes over changed settings", async () => {
    await start(1);
    const tally = new CallTally();
    const long = nonceCall(caller(0), "nonce", tally, { sleepSec: 4 });
    await waitFor(async () => {
      const stats = await (await fetch(`http://127.0.0.1:${port}/stats`)).json();
      return (stats as { calls: { inFlight: number } }).calls.inFlight === 1;
    }, "the call runs");
    await olDone(["setconf", `--cluster=${cluster}`, '{"max_queue": 77}']);
    await restart();
    expect(await long).toBe(200);
    expect(tally.wrong).toEqual([]);
    const config = JSON.parse(
      readFileSync(join(cluster, "config/worker-0.json"), "utf8"),
    ) as object;
    expect(config).toMatchObject({
      max_queue: 77,
      worker_port: port,
      worker_dir: join(cluster, "workers/worker-0.b"),
    });
  });

  test("shows output of before and after as that of one worker, and cleans up the old one", async () => {
    writeFileSync(
      join(cluster, "registry/nonce/lambda_func.py"),
      "def handler(event):\n    print('called', event)\n",
    );
    await start(1);
    await caller(0).call("nonce", "before");
    await restart();
    await caller(0).call("nonce", "after");
    const lines = (await olDone(["logs", `--cluster=${cluster}`, "nonce", "--json"])).trim();
    expect(lines.split("\n").map((line) => JSON.parse(line) as object)).toMatchObject([
      { worker: "worker-0", text: "called before\n" },
      { worker: "worker-0", text: "called after\n" },
    ]);
    expect(readdirSync(join(cluster, "workers/worker-0"))).toEqual(["handlers"]);
  });

  test("leaves the worker alone where its successor does not start", async () => {
    await start(1);
    const pid = pidOf(0);
    const empty = temp.join("empty");
    mkdirSync(empty);
    await olDone(["setconf", `--cluster=${cluster}`, JSON.stringify({ sock_base_path: empty })]);
    const { exitCode, stderr } = await ol(["workers", `--cluster=${cluster}`, "--restart"]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringContaining("Cannot start worker-0 at"),
    });
    expect(pidOf(0)).toBe(pid);
    expect((await caller(0).call("nonce", { nonce: 1 })).status).toBe(200);
    expect((await ol(["status", `--cluster=${cluster}`])).exitCode).toBe(0);
  });

  test("says that no worker runs, and refuses a port", async () => {
    const none = await ol(["workers", `--cluster=${cluster}`, "--restart"]);
    expect(none).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("none runs") });
    const wrong = await ol(["workers", `--cluster=${cluster}`, "--restart", "--port=1"]);
    expect(wrong.exitCode).toBe(2);
  });
});

test("a port that a worker has is refused to others, although workers can share it", async () => {
  await start(1);
  const other = temp.join("other");
  await olDone(["new", `--cluster=${other}`]);
  const { exitCode, stderr } = await ol(["workers", `--cluster=${other}`, `--port=${port}`]);
  expect({ exitCode, stderr }).toEqual({
    exitCode: 1,
    stderr: expect.stringContaining("another program listens there"),
  });
  const config = {
    ...(JSON.parse(readFileSync(join(cluster, "config/worker-0.json"), "utf8")) as object),
    worker_dir: temp.join("elsewhere"),
  };
  writeFileSync(temp.join("config.json"), JSON.stringify(config));
  const direct = await ol(["worker-exec", `--config=${temp.join("config.json")}`]);
  expect(direct).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("the port is taken"),
  });
});
