/** Daemons that hang, crash or refuse: no call waits for ever, and nothing is shared with what may live on. */

import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { OlError } from "../../../src/common/errors.ts";
import { DOCKER_CREATES_PARALLEL_MAX } from "../../../src/common/docker-limits.ts";
import { type DaemonProxy, refusal, startDaemonProxy } from "../../helpers/daemon-proxy.ts";
import { hasDockerd } from "../../helpers/dockerd.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { call, failure } from "../contract/bench.ts";
import { type DockerBench, startDockerBench } from "./docker-bench.ts";

setDefaultTimeout(120_000);

const ECHO = "def handler(event):\n    return event\n";
const SPIN = "def handler(event):\n    while True: pass\n";
const UID = "import os\ndef handler(event):\n    return os.getuid()\n";
/** Goes on printing after its call, once a millisecond. */
const CHATTER = `
import sys, threading, time
def run():
    while True:
        print("chatter", flush=True)
        time.sleep(0.001)
def handler(event):
    threading.Thread(target=run, daemon=True).start()
`;

describe.skipIf(!hasDockerd())("docker pool", () => {
  let bench: DockerBench;

  beforeAll(async () => {
    bench = await startDockerBench("host");
  });

  afterEach(() => bench.daemon.unhang());

  afterAll(() => bench.close());

  /** Processes in containers of this daemon. */
  function guests(): string[] {
    const cgroup = basename(dirname(bench.daemon.socket));
    return readdirSync("/proc").filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/${cgroup}/`);
      } catch {
        return false;
      }
    });
  }

  const containers = async (): Promise<number> =>
    (await bench.daemon.docker.listContainers({ all: true })).length;

  test("a call ends at its limit while the daemon hangs, and nothing of it runs on", async () => {
    const pool = await bench.openPool({ requestTimeoutMs: 2_000 });
    const sandbox = await pool.create(bench.specOf(SPIN));
    expect(guests()).toHaveLength(1);
    bench.daemon.hang();
    const error = await failure(call(sandbox, null, 300));
    expect(error.code).toBe("runtime_exceeded");
    expect(guests()).toEqual([]);
    bench.daemon.unhang();
    await sandbox.destroy();
    await waitFor(async () => (await containers()) === 0, "the container is removed");
    await pool.close();
  });

  test("a guest's end is told while the daemon hangs", async () => {
    const pool = await bench.openPool({ requestTimeoutMs: 2_000 });
    const sandbox = await pool.create(
      bench.specOf("import os\ndef handler(event):\n    os._exit(3)\n"),
    );
    bench.daemon.hang();
    const error = await failure(call(sandbox, null, 60_000));
    expect(error.code).toBe("sandbox_died");
    bench.daemon.unhang();
    await pool.close();
    expect(await containers()).toBe(0);
  });

  test("create() gives up while the daemon hangs, and goes on when it answers again", async () => {
    const pool = await bench.openPool({ requestTimeoutMs: 500 });
    bench.daemon.hang();
    // One more than may start at once: it gets its turn.
    const creates = Array.from({ length: DOCKER_CREATES_PARALLEL_MAX + 1 }, () =>
      failure(pool.create(bench.specOf(ECHO))),
    );
    const errors = await Promise.all(creates);
    expect(new Set(errors.map((it: OlError) => it.code))).toEqual(new Set(["docker_unavailable"]));
    expect(errors[0]?.message).toContain("no answer within 500 ms");
    expect(pool.live).toBe(0);
    bench.daemon.unhang();
    // The daemon may still make what it was asked for.
    const sandbox = await waitFor(
      () => pool.create(bench.specOf(ECHO)).catch(() => null),
      "a container starts",
    );
    expect(await call(sandbox, 5)).toBe(5);
    await waitFor(async () => (await containers()) === 1, "the late containers are removed");
    await pool.close();
    expect(await containers()).toBe(0);
  });

  test("destroy() ends a container whose daemon crashed, and removes it when it is back", async () => {
    const pool = await bench.openPool();
    const sandbox = await pool.create(bench.specOf(CHATTER));
    await call(sandbox);
    await bench.daemon.crash();
    expect(guests()).toHaveLength(1);
    await sandbox.destroy();
    expect(guests()).toEqual([]);
    await bench.daemon.resume();
    await waitFor(async () => (await containers()) === 0, "the container is removed");
    const next = await pool.create(bench.specOf(UID));
    expect(await call(next)).toBeGreaterThan(1000);
    await pool.close();
  });

  describe("behind a daemon that refuses", () => {
    let proxy: DaemonProxy;

    beforeAll(() => {
      proxy = startDaemonProxy(bench.daemon.socket, join(bench.cluster, "proxy.sock"));
    });

    afterAll(() => proxy.stop());

    test("a container that stays keeps its user and its output to itself", async () => {
      const pool = await bench.openPool({ socket: proxy.socket });
      const handlers = join(bench.options.workerDir, "handlers/hello");
      const first = await pool.create(bench.specOf(UID));
      const firstUid = await call(first);
      proxy.intercept = ({ method }) => (method === "DELETE" ? refusal() : null);
      await first.destroy();
      expect(await containers()).toBe(1);
      // Printed nothing, so its files would be the next one's.
      expect(existsSync(join(handlers, first.id))).toBe(true);
      const second = await pool.create(bench.specOf(UID));
      expect(await call(second)).not.toBe(firstUid);
      proxy.intercept = () => null;
      // Without anybody asking for a sandbox.
      await waitFor(async () => (await containers()) === 1, "the container is removed");
      await waitFor(() => !existsSync(join(handlers, first.id)), "its files are taken back");
      await pool.close();
      expect(await containers()).toBe(0);
    });

    test("a command that cannot be killed through the daemon ends at its limit", async () => {
      const pool = await bench.openPool({ socket: proxy.socket });
      proxy.intercept = ({ method, url }) =>
        method === "DELETE" || url.includes("/kill?") ? refusal() : null;
      const result = await pool.run({
        argv: ["/usr/bin/python3", "-I", "-c", "while True: pass"],
        env: {},
        mounts: [],
        files: {},
        limits: { ...bench.specOf(ECHO).limits, runtimeMs: 300 },
      });
      expect(result.outcome).toBe("timeout");
      expect(guests()).toEqual([]);
      proxy.intercept = () => null;
      await pool.close();
      expect(await containers()).toBe(0);
    });
  });
});
