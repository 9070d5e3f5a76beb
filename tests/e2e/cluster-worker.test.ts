import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { freePorts } from "../helpers/free-port.ts";
import { expectNoLeaks, type LeakSnapshot, leakSnapshot } from "../helpers/leaks.ts";
import { ADMIN, OL, ol, olDone, type RunResult } from "../helpers/ol.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait-for.ts";

const HELLO =
  'def handler(event):\n    print("called with", event)\n    return "Hello, " + event\n';

let temp: TempDir;
let cluster = "";
let port = 0;
let before: LeakSnapshot;

beforeAll(() => {
  temp = tempDir();
});
afterAll(() => temp.remove());

beforeEach(async () => {
  before = leakSnapshot();
  cluster = temp.join(`c${Bun.randomUUIDv7()}`);
  port = await freePorts(3);
  await olDone(["new", `--cluster=${cluster}`]);
  writeLambda("hello", HELLO);
});

afterEach(async () => {
  await olDone(["kill", `--cluster=${cluster}`]);
  expect(readdirSync(join(cluster, "logs")).filter((name) => !name.endsWith(".out"))).toEqual([]);
  await expectNoLeaks(before, { marks: [cluster, basename(cluster)] });
});

function writeLambda(name: string, code: string): void {
  mkdirSync(join(cluster, "registry", name), { recursive: true });
  writeFileSync(join(cluster, "registry", name, "lambda_func.py"), code);
}

const on = (command: string, ...args: string[]): Promise<RunResult> =>
  ol([command, `--cluster=${cluster}`, ...args]);

const start = (...args: string[]): Promise<string> =>
  olDone(["workers", `--cluster=${cluster}`, `--port=${port}`, ...args]);

const pidOf = (index: number): number =>
  Number(readFileSync(join(cluster, `logs/worker-${index}.pid`), "utf8"));

function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2)[0] !== "Z";
  } catch {
    return false;
  }
}

async function killHard(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  await waitFor(() => !isRunning(pid), `process ${pid} is gone`);
}

/** A killed process holds its port for a moment longer than its threads run, as the test is about. */
async function listenSoon(at: number): Promise<{ stop(closeAll: boolean): void }> {
  let listener: { stop(closeAll: boolean): void } | null = null;
  await waitFor(() => {
    try {
      listener ??= Bun.listen({ hostname: "127.0.0.1", port: at, socket: { data() {} } });
    } catch {
      return false;
    }
    return true;
  }, `port ${at} is free`);
  return listener as unknown as { stop(closeAll: boolean): void };
}

describe("the command lines of the original README", () => {
  test("work as printed: new, workers, status, kill", async () => {
    const cwd = temp.path;
    const name = `readme-${Bun.randomUUIDv7()}`;
    const admin = (...args: string[]): Promise<RunResult> => ol(args, { program: ADMIN, cwd });
    expect((await admin("new", "-cluster", name)).exitCode).toBe(0);
    expect(
      (await admin("setconf", `--cluster=${name}`, '{"sandbox": "sock", "registry": "local"}'))
        .exitCode,
    ).toBe(0);
    const started = await admin(
      "workers",
      `--cluster=${name}`,
      "--num-workers=2",
      `--port=${port}`,
    );
    expect(started).toMatchObject({ exitCode: 0, stderr: "" });
    const status = await admin("status", `-cluster=${name}`);
    expect(status.exitCode).toBe(0);
    expect(status.stdout).toStartWith(
      `Worker Pings:\n  http://localhost:${port}/status => ready [200 OK]\n` +
        `  http://localhost:${port + 1}/status => ready [200 OK]\n`,
    );
    expect(status.stdout).toContain("\nCluster containers:\n");
    const killed = await admin("kill", `-cluster=${name}`);
    expect(killed.exitCode).toBe(0);
    expect(killed.stdout).toMatch(
      /^Stopped worker-0 \(process \d+\)\nStopped worker-1 \(process \d+\)\n$/,
    );
    const after = await admin("status", `-cluster=${name}`);
    expect(after.stdout).toContain("(no worker was started)");
  });
});

describe("ol workers", () => {
  test("starts workers that outlive their starter, in sessions of their own", async () => {
    const out = await start("-n", "2", "--json");
    const { workers } = JSON.parse(out) as {
      workers: { worker: string; url: string; pid: number }[];
    };
    expect(workers.map(({ worker, url }) => ({ worker, url }))).toEqual([
      { worker: "worker-0", url: `http://localhost:${port}` },
      { worker: "worker-1", url: `http://localhost:${port + 1}` },
    ]);
    for (const [index, { pid }] of workers.entries()) {
      expect(pidOf(index)).toBe(pid);
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const session = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3];
      expect(session).toBe(String(pid));
      expect((await fetch(`http://127.0.0.1:${port + index}/status`)).status).toBe(200);
    }
  });

  test("shares the memory among the workers that it starts", async () => {
    await start("-n", "2");
    const pool = (index: number): number =>
      (
        JSON.parse(readFileSync(join(cluster, `config/worker-${index}.json`), "utf8")) as {
          mem_pool_mb: number;
        }
      ).mem_pool_mb;
    const available =
      Number(/MemTotal:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]) / 1024;
    expect(pool(0) + pool(1)).toBeLessThanOrEqual(available * 0.8);
  });

  test("adds workers under free numbers and refuses a port that one has", async () => {
    await start();
    const taken = await on("workers", `-p=${port}`);
    expect(taken).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining(`"worker_port" ${port}`),
    });
    expect(await olDone(["workers", "-cluster", cluster, "-p", String(port + 1)])).toContain(
      "Started worker-1",
    );
    await killHard(pidOf(0));
    expect(await olDone(["workers", "-cluster", cluster, "-p", String(port)])).toContain(
      "Started worker-0",
    );
  });

  test("shows the end of the log where a worker does not start, and leaves nothing of it", async () => {
    // A base that is a directory and holds nothing passes the first look and fails in the worker.
    const empty = temp.join(`empty-${Bun.randomUUIDv7()}`);
    mkdirSync(empty);
    await olDone(["setconf", `--cluster=${cluster}`, JSON.stringify({ sock_base_path: empty })]);
    const { exitCode, stderr } = await on("workers", `--port=${port}`, "-n=2");
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/Cannot start worker-[01] at .*its log .*\.out ends with\n {2}\S/);
    expect(readdirSync(join(cluster, "config"))).toEqual(["template.json"]);
  });
});

describe("two workers on one directory", () => {
  test("the second is refused and the first goes on", async () => {
    await start();
    const config = join(cluster, "config/worker-0.json");
    const second = await ol(["worker-exec", `--config=${config}`]);
    expect(second).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining(`process ${pidOf(0)} runs a worker in it`),
    });
    expect((await on("status")).exitCode).toBe(0);
  });
});

describe("a worker that was just killed", () => {
  test("may hold its port while it dies: the next start waits for that", async () => {
    await start();
    await killHard(pidOf(0));
    const dying = await listenSoon(port);
    const starting = ol(["workers", `--cluster=${cluster}`, `--port=${port}`]);
    // Refusing it takes a tenth of this.
    expect(await Promise.race([starting, Bun.sleep(500)])).toBeUndefined();
    dying.stop(true);
    expect(await starting).toMatchObject({ exitCode: 0, stderr: "" });
  });
});

describe("commands at the same time", () => {
  test("ol workers gives each start a number and keeps the files of what runs", async () => {
    const ports = await freePorts(4);
    const starts = [0, 1, 2].map((at) =>
      ol(["workers", `--cluster=${cluster}`, `--port=${ports + at}`]),
    );
    // This one cannot start: it must take nothing away from the others.
    const taken = Bun.listen({ hostname: "127.0.0.1", port: ports + 3, socket: { data() {} } });
    const failing = ol(["workers", `--cluster=${cluster}`, `--port=${ports + 3}`]);
    const results = await Promise.all([...starts, failing]);
    taken.stop(true);
    expect(results.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 1]);
    const status = await on("status", "--json");
    const { workers } = JSON.parse(status.stdout) as { workers: { worker: string }[] };
    expect(workers.map(({ worker }) => worker)).toEqual(["worker-0", "worker-1", "worker-2"]);
  });

  test("ol setconf loses no setting", async () => {
    const settings = ["max_queue", "max_body_mb", "cg_pool_size", "max_runners"];
    const done = await Promise.all(
      settings.map((key) => ol(["setconf", `--cluster=${cluster}`, `{"${key}": 7}`])),
    );
    expect(done.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0]);
    const template = JSON.parse(readFileSync(join(cluster, "config/template.json"), "utf8"));
    expect(template).toMatchObject(Object.fromEntries(settings.map((key) => [key, 7])));
  });
});

describe("ol worker-exec", () => {
  test.each([["SIGTERM"], ["SIGINT"]] as const)(
    "ends cleanly on %s with status 0",
    async (signal) => {
      await start();
      const config = join(cluster, "config/worker-0.json");
      await olDone(["kill", `--cluster=${cluster}`]);
      const child = Bun.spawn([OL, "worker-exec", "-c", config], {
        stdout: "pipe",
        stderr: "pipe",
      });
      await waitFor(
        () =>
          fetch(`http://127.0.0.1:${port}/status`).then(
            (it) => it.ok,
            () => false,
          ),
        "the worker is ready",
      );
      child.kill(signal);
      expect(await child.exited).toBe(0);
      expect(await child.stdout.text()).toContain("ready");
      expect(existsSync(join(cluster, "workers/worker-0.owner"))).toBe(false);
    },
  );
});

describe("ol kill", () => {
  test("stops a worker whose pid file is lost or wrong", async () => {
    await start("-n", "2");
    const [first, second] = [pidOf(0), pidOf(1)];
    writeFileSync(join(cluster, "logs/worker-0.pid"), "garbage");
    writeFileSync(join(cluster, "logs/worker-1.pid"), `${process.pid}\n`);
    const { stdout } = await on("kill");
    expect(stdout).toContain(`(process ${first})`);
    expect(stdout).toContain(`(process ${second})`);
    expect(isRunning(first) || isRunning(second)).toBe(false);
  });

  test("works after kill -9 of a worker, and status tells before", async () => {
    await start();
    await olDone(["invoke", `--cluster=${cluster}`, "hello", '"a"']);
    await killHard(pidOf(0));
    const status = await on("status");
    expect(status.exitCode).toBe(1);
    expect(status.stdout).toContain("connection refused, its process is gone");
    expect((await on("kill")).exitCode).toBe(0);
    expect(await start()).toContain("Started worker-0");
    expect(await olDone(["invoke", `--cluster=${cluster}`, "hello", '"b"'])).toBe('"Hello, b"\n');
  });

  test("may be run twice at once", async () => {
    await start();
    const results = await Promise.all([on("kill"), on("kill")]);
    expect(results.map((result) => [result.exitCode, result.stderr])).toEqual([
      [0, ""],
      [0, ""],
    ]);
  });
});

describe("ol invoke", () => {
  test("passes JSON from the argument and from stdin, and prints the result", async () => {
    await start();
    writeLambda("echo", "def handler(event):\n    return event\n");
    expect(await olDone(["invoke", `-cluster=${cluster}`, "hello", '"Alice"'])).toBe(
      '"Hello, Alice"\n',
    );
    const stdin = '{"big": 12345678901234567890, "n": [1, null]}';
    const out = await olDone(["invoke", "-cluster", cluster, "echo"], { stdin });
    expect(out.replaceAll(" ", "")).toBe(`${stdin.replaceAll(" ", "")}\n`);
    expect(await olDone(["invoke", `-cluster=${cluster}`, "echo", "-5"])).toBe("-5\n");
  });

  test("exits with 1 and shows the traceback where the lambda raises", async () => {
    await start();
    writeLambda("bad", "def handler(event):\n    raise ValueError('no good')\n");
    const { exitCode, stdout, stderr } = await on("invoke", "bad", "1");
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toContain("ValueError: no good");
    const json = await on("invoke", "bad", "1", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({
      status: 500,
      error: { message: expect.stringContaining("no good") },
    });
    expect(await on("invoke", "none", "1")).toMatchObject({ exitCode: 1 });
  });

  test("tells status and start with --json", async () => {
    await start();
    const out = await olDone(["invoke", `-cluster=${cluster}`, "hello", '"x"', "--json"]);
    expect(JSON.parse(out)).toMatchObject({
      status: 200,
      start: expect.any(String),
      requestId: expect.any(String),
      result: "Hello, x",
    });
  });
});

describe("ol logs", () => {
  test("shows what a lambda printed, and refuses one that does not exist", async () => {
    await start();
    await olDone(["invoke", `-cluster=${cluster}`, "hello", '"first"']);
    await waitFor(
      async () =>
        (await olDone(["logs", `-cluster=${cluster}`, "hello"])).includes("called with first"),
      "the output is there",
    );
    expect((await on("logs", "none")).exitCode).toBe(1);
    const json = await olDone(["logs", `-cluster=${cluster}`, "hello", "--json"]);
    expect(JSON.parse(json.split("\n")[0] ?? "")).toMatchObject({
      worker: "worker-0",
      stream: "stdout",
      text: "called with first\n",
    });
  });

  test("--follow shows what is printed later, and ends with status 0 on SIGTERM", async () => {
    await start();
    const child = Bun.spawn([OL, "logs", `--cluster=${cluster}`, "hello", "--follow"], {
      stdout: "pipe",
      stderr: "pipe",
    });
    let seen = "";
    const reading = (async () => {
      for await (const piece of child.stdout) seen += new TextDecoder().decode(piece);
    })();
    for (const name of ["one", "two"]) {
      await olDone(["invoke", `-cluster=${cluster}`, "hello", JSON.stringify(name)]);
      await waitFor(() => seen.includes(`called with ${name}\n`), `${name} is shown`);
    }
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
    await reading;
    expect(seen.match(/called with/g)).toHaveLength(2);
  });
});
