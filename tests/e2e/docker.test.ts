/** Lambdas as containers, through the executable alone, against a daemon of the suite's own. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startDaemonProxy } from "../helpers/daemon-proxy.ts";
import { type Daemon, hasDockerd, startDockerd } from "../helpers/dockerd.ts";
import { freePorts } from "../helpers/free-port.ts";
import { OL, ol, olDone } from "../helpers/ol.ts";
import { PROJECT_DIR } from "../helpers/paths.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type TestWorker, startWorker } from "../helpers/worker.ts";

setDefaultTimeout(120_000);

const HELLO = "def handler(event):\n    print('called')\n    return 'hello ' + event\n";
const FAILING = `
import os
def handler(event):
    if event == "raise":
        raise ValueError("no luck")
    if event == "exit":
        os._exit(7)
    if event == "memory":
        return len(b"x" * (1 << 30))
    while event == "loop":
        pass
    return event
`;
const FORK = `
import os, time
def handler(event):
    made = 0
    try:
        for _ in range(100):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            made += 1
    except OSError as error:
        return [made < 24, error.errno]
`;
const LIMITS = { mem_mb: 64, procs: 24, runtime_sec: 2, scratch_mb: 16 };

let daemon: Daemon;
let temp: TempDir;

/** Settings of a cluster whose lambdas are containers. */
const inDocker = (socket: string): Record<string, unknown> => ({
  sandbox: "docker",
  docker: { socket },
  import_cache_size: 0,
  network: "none",
  limits: LIMITS,
});

async function makeCluster(settings: Record<string, unknown>): Promise<string> {
  const cluster = temp.join(`c${Bun.randomUUIDv7()}`);
  await olDone(["new", `--cluster=${cluster}`]);
  await olDone(["setconf", `--cluster=${cluster}`, JSON.stringify(settings)]);
  return cluster;
}

/** Where the worker of a directory listens for guests. */
const socketDirOf = (workerDir: string): string =>
  `/run/openlambda-${new Bun.CryptoHasher("sha256").update(workerDir).digest("hex").slice(0, 16)}`;

const listed = () => daemon.docker.listContainers({ all: true });

describe.skipIf(!hasDockerd())("with the Docker engine", () => {
  let worker: TestWorker;

  beforeAll(async () => {
    temp = tempDir("ol-e2e-docker-");
    daemon = await startDockerd();
    const pack = join(PROJECT_DIR, "tests/fixtures/packages/wheel.py");
    const packed = Bun.spawnSync(["/usr/bin/python3", pack, temp.path, "olsmall"], {
      stdin: Buffer.from("WORD = 'installed'\n"),
    });
    expect(packed.success).toBe(true);
  });

  afterAll(async () => {
    await daemon.close();
    temp.remove();
  });

  describe("a worker", () => {
    let index: Bun.Server<undefined>;
    const env = { PIP_FIND_LINKS: "", PIP_NO_INDEX: "1" };
    const before = Object.keys(env).map((name) => [name, process.env[name]] as const);

    beforeAll(async () => {
      const wheel = readdirSync(temp.path).find((name) => name.endsWith(".whl")) ?? "";
      const bytes = readFileSync(temp.join(wheel));
      const digest = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
      index = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: ({ url }) =>
          new URL(url).pathname.endsWith(".whl")
            ? new Response(bytes)
            : new Response(`<a href="${wheel}#sha256=${digest}">${wheel}</a>`, {
                headers: { "content-type": "text/html" },
              }),
      });
      // The worker hands the host's pip settings to its installer.
      Object.assign(process.env, env, { PIP_FIND_LINKS: index.url.href });
      worker = await startWorker(inDocker(daemon.socket));
      worker.lambda("hello", HELLO);
      worker.lambda("failing", FAILING);
    });

    afterAll(async () => {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      await worker.stop();
      await index.stop(true);
      expect(await listed()).toEqual([]);
    });

    test("answers from a container, which status lists", async () => {
      const first = await worker.call("hello", "world");
      expect([first.status, first.text]).toEqual([200, '"hello world"']);
      expect(first.headers.get("x-ol-start")).toBe("fresh");
      const second = await worker.call("hello", "again");
      expect([second.text, second.headers.get("x-ol-start")]).toEqual(['"hello again"', "warm"]);
      const [container] = await listed();
      const status = await olDone(["status", `--cluster=${worker.cluster}`]);
      const line = `  ${container?.Id.slice(0, 12)} ${container?.Names[0]?.slice(1)} sandbox hello => Up`;
      expect(status).toContain(`\nCluster containers:\n${line}`);
      expect(await olDone(["logs", `--cluster=${worker.cluster}`, "hello"])).toContain("called");
    });

    test.each([
      ["raise", 500, "ValueError: no luck"],
      ["exit", 502, "exited with status 7"],
      ["memory", 502, "more memory than its limit"],
      ["loop", 504, "longer than its limit of 2 s"],
    ])("answers %p with %p and goes on", async (event, status, words) => {
      const failed = await worker.call("failing", event);
      expect([failed.status, failed.text]).toEqual([status, expect.stringContaining(words)]);
      const next = await worker.call("failing", "fine");
      expect([next.status, next.text]).toEqual([200, '"fine"']);
    });

    test("bounds the processes of a lambda", async () => {
      worker.lambda("fork", FORK);
      const { status, text } = await worker.call("fork");
      expect([status, text]).toEqual([200, "[true, 11]"]);
    });

    test("pauses an idle container and lets it go on with the next call", async () => {
      expect((await worker.call("hello", "a")).status).toBe(200);
      const arePaused = async (): Promise<boolean> => {
        const { live, paused } = (await worker.stats()).sandboxes;
        return live === paused && (await listed()).every((it) => it.State === "paused");
      };
      await waitFor(arePaused, "all containers are paused");
      const status = await olDone(["status", `--cluster=${worker.cluster}`]);
      expect(status).toMatch(/ol-hello-\S+ sandbox hello => Up .*\(Paused\)/u);
      const answer = await worker.call("hello", "b");
      expect([answer.text, answer.headers.get("x-ol-start")]).toEqual(['"hello b"', "unpaused"]);
    });

    test("installs a package in a container and imports it in another", async () => {
      const code = "import olsmall\ndef handler(event):\n    return olsmall.WORD\n";
      worker.lambda("packaged", code, { "packages.txt": "olsmall==1.0\n" });
      const { status, text } = await worker.call("packaged");
      expect([status, text]).toEqual([200, '"installed"']);
      worker.lambda("wishful", HELLO, { "packages.txt": "no-such-package-of-ours\n" });
      const refused = await worker.call("wishful", "x");
      expect([refused.status, refused.text]).toEqual([
        500,
        expect.stringContaining("no-such-package-of-ours"),
      ]);
    });

    test("is replaced on its port while it is called, and takes its containers with it", async () => {
      const oldPid = worker.pid();
      const old = (await listed()).map((it) => it.Id);
      const over = new AbortController();
      const restarting = olDone(["workers", `--cluster=${worker.cluster}`, "--restart"]).finally(
        () => over.abort(),
      );
      let calls = 0;
      for (; !over.signal.aborted; calls += 1) {
        const { status, text } = await worker.call("hello", String(calls));
        expect([status, text]).toEqual([200, `"hello ${calls}"`]);
      }
      expect(await restarting).toContain(`was ${oldPid}`);
      expect(calls).toBeGreaterThan(1);
      const now = (await listed()).map((it) => it.Id);
      expect(now.filter((id) => old.includes(id))).toEqual([]);
      expect((await worker.call("hello", "after")).text).toBe('"hello after"');
    });

    test("leaves containers behind when it is killed, which kill removes", async () => {
      expect((await worker.call("hello", "a")).status).toBe(200);
      const count = (await listed()).length;
      expect(count).toBeGreaterThan(0);
      // It was replaced, so it uses its other directory.
      expect(existsSync(socketDirOf(`${worker.dir}.b`))).toBe(true);
      process.kill(worker.pid(), "SIGKILL");
      await waitFor(
        async () => (await ol(["status", `--cluster=${worker.cluster}`])).exitCode === 1,
        "status sees that the worker is gone",
      );
      const killed = await olDone(["kill", `--cluster=${worker.cluster}`]);
      expect(killed.match(/Removed container ol-/gu) ?? []).toHaveLength(count);
      expect(await listed()).toEqual([]);
      expect(await olDone(["kill", `--cluster=${worker.cluster}`])).toBe("Nothing was running\n");
      expect([worker.dir, `${worker.dir}.b`].map(socketDirOf).filter(existsSync)).toEqual([]);
    });
  });

  test("workers refuses an import cache, because containers cannot be forked", async () => {
    const cluster = await makeCluster({ ...inDocker(daemon.socket), import_cache_size: 1024 });
    const { exitCode, stderr } = await ol([
      "workers",
      `--cluster=${cluster}`,
      `--port=${await freePorts()}`,
    ]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('Cannot use import_cache_size 1024 with "sandbox": "docker"');
    expect(stderr).toContain("wanted 0");
  });

  test("new removes what one left that was killed in the middle of a dump", async () => {
    writeFileSync(temp.join("empty"), "");
    const tar = temp.join("root.tar");
    Bun.spawnSync(["tar", "-C", temp.path, "-cf", tar, "empty"]);
    const image = await daemon.importTarball(tar, "pythonless");
    const proxy = startDaemonProxy(daemon.socket, temp.join("proxy.sock"));
    const env = { DOCKER_HOST: `unix://${proxy.socket}` };
    const parent = temp.join("killed");
    mkdirSync(parent);
    const args = ["new", `--cluster=${join(parent, "cluster")}`, `--base=docker:${image}`];
    const exported = Promise.withResolvers<void>();
    proxy.intercept = ({ url }) => {
      if (!url.endsWith("/export")) return null;
      exported.resolve();
      return new Promise(() => undefined);
    };
    const child = Bun.spawn([OL, ...args], { env: { ...process.env, ...env }, stderr: "ignore" });
    await exported.promise;
    child.kill("SIGKILL");
    await child.exited;
    expect(readdirSync(parent)).toHaveLength(1);
    expect(await listed()).toHaveLength(1);
    proxy.intercept = () => null;
    const { exitCode, stderr } = await ol(args, { env });
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining("it has no python3")]);
    expect(readdirSync(parent)).toEqual([]);
    expect(await listed()).toEqual([]);
    await proxy.stop();
  });
});

describe("without Docker", () => {
  let nowhere = "";

  beforeAll(() => {
    temp = tempDir("ol-e2e-docker-");
    nowhere = temp.join("nobody.sock");
  });

  afterAll(() => temp.remove());

  test("workers and new say what to start, and leave nothing", async () => {
    const cluster = await makeCluster(inDocker(nowhere));
    const port = await freePorts();
    const started = await ol(["workers", `--cluster=${cluster}`, `--port=${port}`]);
    expect(started.exitCode).toBe(1);
    expect(started.stderr).toContain(nowhere);
    expect(started.stderr).toContain("systemctl start docker");
    const other = temp.join("other");
    const made = await ol(["new", `--cluster=${other}`, "--base=docker:debian"], {
      env: { DOCKER_HOST: `unix://${nowhere}` },
    });
    expect(made.exitCode).toBe(1);
    expect(made.stderr).toContain("systemctl start docker");
    expect(existsSync(other)).toBe(false);
    await olDone(["kill", `--cluster=${cluster}`]).catch((error: unknown) => {
      expect(String(error)).toContain("systemctl start docker");
    });
  });

  test("a cluster of the other engine is not affected", async () => {
    const worker = await startWorker({ docker: { socket: nowhere }, network: "none" });
    try {
      worker.lambda("hello", HELLO);
      expect((await worker.call("hello", "sock")).text).toBe('"hello sock"');
      const status = await olDone(["status", `--cluster=${worker.cluster}`]);
      expect(status).toContain(`(no Docker daemon at ${nowhere})`);
      writeFileSync(nowhere, "");
      expect((await ol(["status", `--cluster=${worker.cluster}`])).exitCode).toBe(0);
    } finally {
      await worker.stop();
    }
  });
});
