/**
 * A first lambda through the compiled executable on a pure cgroup v2 host: the smallest proof that
 * the whole of it works there. The worker runs in the foreground, because `ol workers` waits for it
 * only as long as a real machine needs.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

import { freePorts } from "../helpers/free-port.ts";
import { expectNoLeaks, leakSnapshot } from "../helpers/leaks.ts";
import { OL, olDone } from "../helpers/ol.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait-for.ts";

const READY_TIMEOUT_MS = 20_000;

const HELLO = 'def handler(event):\n    return "Hello, " + event["name"] + "!"\n';
const GREEDY = "def handler(event):\n    return len(bytearray(event << 20))\n";

const before = leakSnapshot();
const temp = tempDir("ol-first-");
const cluster = temp.join("cluster");
let worker: Bun.Subprocess | undefined;
let url = "";

function addLambda(name: string, code: string): void {
  mkdirSync(`${cluster}/registry/${name}`);
  writeFileSync(`${cluster}/registry/${name}/lambda_func.py`, code);
}

async function call(name: string, event: unknown): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${url}/run/${name}`, { method: "POST", body: JSON.stringify(event) });
  return { status: answer.status, text: await answer.text() };
}

async function isReady(): Promise<boolean> {
  try {
    return (await fetch(`${url}/status`)).ok;
  } catch {
    return false;
  }
}

beforeAll(async () => {
  const port = await freePorts();
  url = `http://127.0.0.1:${port}`;
  await olDone(["new", `--cluster=${cluster}`]);
  const template = JSON.parse(readFileSync(`${cluster}/config/template.json`, "utf8")) as object;
  const config = { ...template, worker_port: port, worker_dir: `${cluster}/workers/worker-0` };
  writeFileSync(`${cluster}/config/worker-0.json`, JSON.stringify(config));
  worker = Bun.spawn([OL, "worker-exec", `--config=${cluster}/config/worker-0.json`], {
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
  });
  await waitFor(isReady, "the worker is ready", READY_TIMEOUT_MS);
});

afterAll(async () => {
  worker?.kill("SIGTERM");
  await worker?.exited;
  temp.remove();
});

describe("a worker on cgroup v2", () => {
  test("answers a first call and a warm one", async () => {
    addLambda("hello", HELLO);
    expect(await call("hello", { name: "Alice" })).toEqual({
      status: 200,
      text: '"Hello, Alice!"',
    });
    expect(await call("hello", { name: "Bob" })).toEqual({ status: 200, text: '"Hello, Bob!"' });
  });

  test("ends a lambda that takes more memory than it may, and answers the next call", async () => {
    addLambda("greedy", GREEDY);
    expect((await call("greedy", 400)).status).toBe(502);
    expect(await call("greedy", 1)).toEqual({ status: 200, text: "1048576" });
  });

  test("leaves nothing behind when it is told to stop", async () => {
    worker?.kill("SIGTERM");
    expect(await worker?.exited).toBe(0);
    worker = undefined;
    await expectNoLeaks(before, { marks: [temp.path], deadCgroups: "openlambda" });
  });
});
