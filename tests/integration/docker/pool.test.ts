/** What only the Docker engine has: labels, daemons that go away, workers that die, images, runtimes. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OlError } from "../../../src/common/errors.ts";
import type { Sandbox } from "../../../src/sandbox/contract.ts";
import {
  listClusterContainers,
  removeClusterContainers,
} from "../../../src/sandbox/docker/containers.ts";
import type { DockerPool } from "../../../src/sandbox/docker/pool.ts";
import { debianTarball } from "../../helpers/base-image.ts";
import { hasDockerd } from "../../helpers/dockerd.ts";
import { type DockerBench, startDockerBench } from "./docker-bench.ts";

setDefaultTimeout(300_000);

const MIB = 1024 * 1024;
const ECHO = "def handler(event):\n    return event\n";

async function failure(promise: Promise<unknown>): Promise<OlError> {
  const error: unknown = await promise.then(
    () => new Error("it succeeded"),
    (cause: unknown) => cause,
  );
  if (error instanceof OlError) return error;
  throw error;
}

async function call(sandbox: Sandbox, event: unknown): Promise<unknown> {
  const result = await sandbox.call(new TextEncoder().encode(JSON.stringify(event)), 20_000);
  return JSON.parse(new TextDecoder().decode(result.body));
}

describe.skipIf(!hasDockerd())("docker pool", () => {
  let bench: DockerBench;

  beforeAll(async () => {
    bench = await startDockerBench("host");
  });

  afterAll(() => bench.close());

  async function withPool(
    use: (pool: DockerPool) => Promise<void>,
    changes: Parameters<DockerBench["openPool"]>[0] = {},
  ): Promise<void> {
    const pool = await bench.openPool(changes);
    try {
      await use(pool);
    } finally {
      await pool.close();
    }
    expect(await bench.daemon.docker.listContainers({ all: true })).toEqual([]);
  }

  const list = (cluster = bench.cluster) => listClusterContainers(bench.daemon.socket, cluster);

  test("listClusterContainers() shows a cluster's containers and no others", async () => {
    await withPool(async (pool) => {
      const sandbox = await pool.create(bench.specOf(ECHO));
      const [found, ...more] = await list();
      expect(more).toEqual([]);
      expect(found).toMatchObject({ role: "sandbox", lambda: "hello", state: "running" });
      expect(await list("/another")).toEqual([]);
      await sandbox.destroy();
      expect(await list()).toEqual([]);
    });
  });

  test("removeClusterContainers() ends a paused and a busy sandbox and may be repeated", async () => {
    await withPool(async (pool) => {
      const busy = await pool.create(bench.specOf("def handler(event):\n    while True: pass\n"));
      const idle = await pool.create(bench.specOf(ECHO));
      await call(idle, 1);
      idle.pause();
      const running = failure(call(busy, 1));
      expect(await removeClusterContainers(bench.daemon.socket, bench.cluster)).toHaveLength(2);
      expect((await running).code).toBe("sandbox_died");
      expect((await idle.gone).code).toBe("sandbox_died");
      expect(await removeClusterContainers(bench.daemon.socket, bench.cluster)).toEqual([]);
    });
  });

  test("open() removes what a worker that was killed left, and only that", async () => {
    const other = {
      ...bench.options,
      workerDir: join(bench.cluster, "workers/worker-1"),
      slot: 1,
    };
    mkdirSync(join(other.workerDir, "handlers"), { recursive: true });
    const neighbour = await bench.openPool(other);
    const kept = await neighbour.create(bench.specOf(ECHO));
    const script = `
      import { DockerPool } from ${JSON.stringify(join(import.meta.dir, "../../../src/sandbox/docker/pool.ts"))};
      const [options, spec] = JSON.parse(process.argv[1]);
      const pool = await DockerPool.open(options);
      await Promise.all([pool.create(spec), pool.create(spec)]);
      process.kill(process.pid, "SIGKILL");
    `;
    const argument = JSON.stringify([
      bench.options,
      bench.specOf("import time\ntime.sleep(600)\n"),
    ]);
    const child = Bun.spawn([process.execPath, "-e", script, argument], { stderr: "pipe" });
    await child.exited;
    expect(child.signalCode).toBe("SIGKILL");
    expect(await list()).toHaveLength(3);
    await withPoolKeeping(1, async () => expect(await list()).toHaveLength(1));
    expect(await call(kept, "still here")).toBe("still here");
    await neighbour.close();
  });

  async function withPoolKeeping(count: number, use: () => Promise<void>): Promise<void> {
    const pool = await bench.openPool();
    await use();
    await pool.close();
    expect(await list()).toHaveLength(count);
  }

  test("create() fails while the daemon is away and works when it is back", async () => {
    await withPool(async (pool) => {
      const before = await pool.create(bench.specOf(ECHO));
      expect(await call(before, 1)).toBe(1);
      const hanging = await pool.create(
        bench.specOf("import time\ndef handler(event):\n    time.sleep(60)\n"),
      );
      const cut = failure(call(hanging, 1));
      await bench.daemon.halt();
      expect((await cut).code).toBe("sandbox_died");
      expect((await before.gone).code).toBe("sandbox_died");
      const error = await failure(pool.create(bench.specOf(ECHO)));
      expect(error.code).toBe("docker_unavailable");
      expect(error.message).toContain("systemctl start docker");
      await bench.daemon.resume();
      const after = await pool.create(bench.specOf(ECHO));
      expect(await call(after, 2)).toBe(2);
      expect(pool.live).toBe(1);
    });
  });

  test("open() refuses an import cache, an image that is not there, and a dead socket", async () => {
    const cache = await failure(bench.openPool({ importCacheBytes: 1024 }));
    expect(cache.code).toBe("config_invalid");
    expect(cache.message).toContain("import_cache_size");
    const image = await failure(bench.openPool({ baseImage: "no/such:image" }));
    expect(image.code).toBe("base_invalid");
    expect(image.message).toContain("docker pull no/such:image");
    const nobody = await failure(bench.openPool({ socket: join(bench.cluster, "nobody.sock") }));
    expect(nobody.code).toBe("docker_unavailable");
  });

  test("create() says so where the runtime is not known to Docker", async () => {
    await withPool(
      async (pool) => {
        const error = await failure(pool.create(bench.specOf(ECHO)));
        expect(error.code).toBe("sandbox_create");
        expect(error.message).toContain("no-such-runtime");
        expect(pool.live).toBe(0);
      },
      { runtime: "no-such-runtime" },
    );
  });

  test("create() runs in a named runtime and a named image", async () => {
    const baseImage = await bench.daemon.importTarball(debianTarball("bullseye"), "named");
    await withPool(
      async (pool) => {
        const sandbox = await pool.create(
          bench.specOf("import sys\ndef handler(event):\n    return list(sys.version_info[:2])\n"),
        );
        expect(await call(sandbox, null)).toEqual([3, 9]);
      },
      { baseImage, runtime: "runc" },
    );
  });

  test("create() reports an image whose interpreter does not start", async () => {
    const context = join(bench.cluster, "pythonless");
    mkdirSync(context);
    writeFileSync(join(context, "empty"), "");
    const tar = join(context, "root.tar");
    Bun.spawnSync(["tar", "-C", context, "-cf", tar, "empty"]);
    const baseImage = await bench.daemon.importTarball(tar, "pythonless");
    await withPool(
      async (pool) => {
        const error = await failure(pool.create(bench.specOf(ECHO)));
        expect(error.code).toBe("sandbox_create");
        expect(error.message).toContain("python3");
      },
      { baseImage },
    );
  });

  describe("run()", () => {
    const limits = {
      memoryMaxBytes: 96 * MIB,
      processesMax: 32,
      cpuPercent: 100,
      runtimeMs: 20_000,
      scratchMaxBytes: 32 * MIB,
    };

    async function run(
      program: string,
      changes: Partial<Parameters<DockerPool["run"]>[0]> = {},
    ): Promise<Awaited<ReturnType<DockerPool["run"]>>> {
      const pool = await bench.openPool();
      try {
        return await pool.run({
          argv: ["/usr/bin/python3", "-I", "/run/install/program.py"],
          env: { COLOR: "blue" },
          mounts: [],
          limits,
          ...changes,
          files: { "program.py": program },
        });
      } finally {
        await pool.close();
        expect(await bench.daemon.docker.listContainers({ all: true })).toEqual([]);
      }
    }

    test("tells exit status and both streams", async () => {
      const program =
        "import os, sys\nprint(os.environ['COLOR'], os.getuid() > 1000)\nprint('oops', file=sys.stderr)\nsys.exit(3)\n";
      expect(await run(program)).toEqual({
        outcome: "exited",
        exitCode: 3,
        stdout: "blue True\n",
        stderr: "oops\n",
      });
    });

    test("lets it write to the directory that it is given and reach the host's network", async () => {
      using server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: () => new Response("pip"),
      });
      const work = join(bench.cluster, "work");
      mkdirSync(work, { mode: 0o700 });
      const program = `
import urllib.request
text = urllib.request.urlopen("http://127.0.0.1:${server.port}/").read()
open("/host/result", "wb").write(text)
`;
      const mounts = [{ source: work, target: "/host", readOnly: false }];
      expect(await run(program, { mounts })).toMatchObject({ outcome: "exited", exitCode: 0 });
      expect(readFileSync(join(work, "result"), "utf8")).toBe("pip");
    });

    test("ends what takes too long, too much memory or too much space", async () => {
      const forever = "while True:\n    pass\n";
      const slow = await run(forever, { limits: { ...limits, runtimeMs: 1000 } });
      expect(slow.outcome).toBe("timeout");
      expect((await run("b'x' * (1 << 30)\n")).outcome).toBe("out_of_memory");
      expect((await run("import os\nos.kill(os.getpid(), 9)\nos.abort()\n")).outcome).toBe(
        "signalled",
      );
      const work = join(bench.cluster, "full");
      mkdirSync(work, { mode: 0o700 });
      const fill =
        "n = 0\nwhile True:\n    n += 1\n    open('/host/%d' % (n % 16), 'wb').write(b'x' * (4 << 20))\n";
      const mounts = [{ source: work, target: "/host", readOnly: false }];
      expect((await run(fill, { mounts })).outcome).toBe("output_limit");
    });
  });
});
