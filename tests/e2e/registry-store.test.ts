/** `ol registry`, `ol kill` and `ol status` when something is in the way; no worker and no root needed. */

import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { freePorts, ol, olDone } from "../helpers/ol.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(60_000));

let temp: TempDir;
let cluster = "";
let port = 0;

beforeEach(async () => {
  temp = tempDir("ol-registry-store-");
  cluster = temp.join("cluster");
  port = await freePorts(2);
  await olDone(["new", `--cluster=${cluster}`]);
});

afterEach(async () => {
  await ol(["kill", `--cluster=${cluster}`]);
  temp.remove();
});

const registry = (...args: string[]) => ol(["registry", `--cluster=${cluster}`, ...args]);
const kill = (...args: string[]) => ol(["kill", `--cluster=${cluster}`, ...args]);
const path = (name: string): string => join(cluster, name);
const isUp = async (at = port): Promise<boolean> =>
  (await fetch(`http://127.0.0.1:${at}/_status`).catch(() => null)) !== null;

/** What `config/registry.json` says. */
function settings(): { bind: string; port: number; accessKey: string; secretKey: string } {
  return JSON.parse(readFileSync(path("config/registry.json"), "utf8")) as never;
}

/** A program that takes connections and says nothing. */
function listenSilently(at: number): Promise<Server> {
  const server = createServer(() => {});
  return new Promise((resolve) => server.listen(at, "127.0.0.1", () => resolve(server)));
}

describe("registry", () => {
  test("makes keys that are hard to guess, and keeps them with port and address", async () => {
    expect((await registry(`--port=${port}`, "--bind=0.0.0.0")).exitCode).toBe(0);
    const first = settings();
    expect(first.secretKey).toMatch(/^[0-9a-f]{40}$/);
    expect(first.accessKey).toMatch(/^[0-9a-f]{20}$/);
    expect(statSync(path("config/registry.json")).mode & 0o777).toBe(0o600);
    await kill();
    expect((await registry()).exitCode).toBe(0);
    expect(settings()).toEqual(first);
    expect(await isUp()).toBe(true);
    // Another cluster gets others.
    const other = temp.join("other");
    await olDone(["new", `--cluster=${other}`]);
    await olDone(["registry", `--cluster=${other}`, `--port=${port + 1}`]);
    const text = readFileSync(join(other, "config/registry.json"), "utf8");
    await olDone(["kill", `--cluster=${other}`]);
    expect(text).not.toContain(first.secretKey);
  });

  test("says that another program has the port, and starts nothing", async () => {
    const server = await listenSilently(port);
    try {
      const refused = await registry(`--port=${port}`);
      expect([refused.exitCode, refused.stderr]).toEqual([
        1,
        expect.stringContaining(`port ${port} is in use`),
      ]);
      expect(existsSync(path("config/registry.json"))).toBe(false);
      expect(existsSync(path("logs/registry.pid"))).toBe(false);
    } finally {
      server.close();
    }
  });

  test.each(["300.1.1.1", "192.0.2.7", "no-such-host.invalid", "x y"])(
    "refuses to listen on %j in words",
    async (bind) => {
      const refused = await registry(`--port=${port}`, `--bind=${bind}`);
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr).toContain(`Cannot use --bind=${bind}`);
      expect(refused.stderr).not.toContain("EEXIST");
    },
    60_000,
  );

  test("of two that start at once one wins, and its files are its own", async () => {
    const both = await Promise.all([
      registry(`--port=${port}`, "--access-key=ONE", "--secret-key=one"),
      registry(`--port=${port + 1}`, "--access-key=TWO", "--secret-key=two"),
    ]);
    const winners = both.filter(({ exitCode }) => exitCode === 0);
    expect(winners.length).toBe(1);
    expect(both.find(({ exitCode }) => exitCode !== 0)?.stderr).toMatch(/runs already/);
    expect(winners[0]?.stdout).toContain(`:${settings().port}`);
    expect(await isUp(settings().port)).toBe(true);
    expect((await kill()).stdout).toContain("Stopped registry");
    expect(await isUp(settings().port)).toBe(false);
  });

  test("takes its keys from a file, from stdin and from the environment", async () => {
    const file = temp.join("secret");
    writeFileSync(file, "from-file\n");
    const start = async (args: string[], options: Parameters<typeof ol>[1]): Promise<string> => {
      const started = await ol(
        ["registry", `--cluster=${cluster}`, `--port=${port}`, ...args],
        options,
      );
      expect([started.stderr, started.exitCode]).toEqual(["", 0]);
      const pid = readFileSync(path("logs/registry.pid"), "utf8").trim();
      expect(readFileSync(`/proc/${pid}/environ`, "latin1")).not.toContain("from-");
      await kill();
      return `${settings().accessKey} ${settings().secretKey}`;
    };
    expect(await start(["--access-key=A", `--secret-key=@${file}`], {})).toBe("A from-file");
    expect(await start(["--secret-key=-"], { stdin: "from-stdin\n" })).toBe("A from-stdin");
    const env = { OL_ACCESS_KEY: "B", OL_SECRET_KEY: "from-env" };
    expect(await start([], { env })).toBe("B from-env");
    const missing = await registry("--secret-key=@/nonexistent");
    expect([missing.exitCode, missing.stderr]).toEqual([2, expect.stringContaining("ENOENT")]);
  });

  test("starts where the environment names a proxy for everything", async () => {
    const env = { HTTP_PROXY: "http://127.0.0.1:1", http_proxy: "http://127.0.0.1:1" };
    const args = ["registry", `--cluster=${cluster}`, `--port=${port}`];
    const started = await ol(args, { env: { ...env, NO_PROXY: undefined, no_proxy: undefined } });
    expect([started.stderr, started.exitCode]).toEqual(["", 0]);
  });
});

describe("kill", () => {
  test("stops a store whose pid file was lost; status and a second start know it too", async () => {
    expect((await registry(`--port=${port}`)).exitCode).toBe(0);
    rmSync(path("logs/registry.pid"));
    rmSync(path("logs/registry.start"));
    const status = await ol(["status", `--cluster=${cluster}`]);
    expect(status.stdout).toContain(`http://localhost:${port}/_status => ready [200 OK]`);
    const again = await registry(`--port=${port + 1}`);
    expect([again.exitCode, again.stderr]).toEqual([1, expect.stringContaining("runs already")]);
    expect((await kill()).stdout).toContain("Stopped registry");
    expect(await isUp()).toBe(false);
    expect((await kill()).stdout).toBe("Nothing was running\n");
  });

  test("stops the store although Docker is away, and still says that it is", async () => {
    const docker = { sandbox: "docker", docker: { socket: temp.join("no-docker.sock") } };
    await olDone(["setconf", `--cluster=${cluster}`, JSON.stringify(docker)]);
    expect((await registry(`--port=${port}`)).exitCode).toBe(0);
    const killed = await kill();
    expect(killed.exitCode).toBe(1);
    expect(killed.stdout).toContain("Stopped registry");
    expect(killed.stderr).toMatch(/docker/i);
    expect(await isUp()).toBe(false);
    expect(existsSync(path("logs/registry.pid"))).toBe(false);
  });
});

test("status shows the store while it runs, and that it is gone when it was killed", async () => {
  const report = async (): Promise<{ ok: boolean; answer: string } | null> => {
    const { stdout } = await ol(["status", `--cluster=${cluster}`, "--json"]);
    return (JSON.parse(stdout) as { registry: { ok: boolean; answer: string } | null }).registry;
  };
  expect(await report()).toBeNull();
  expect((await registry(`--port=${port}`)).exitCode).toBe(0);
  expect(await report()).toMatchObject({ ok: true, answer: "ready [200 OK]" });
  process.kill(Number(readFileSync(path("logs/registry.pid"), "utf8")), "SIGKILL");
  await waitFor(async () => !(await isUp()), "the store is gone");
  expect(await report()).toMatchObject({ ok: false, answer: expect.stringContaining("is gone") });
  const failed = await ol(["status", `--cluster=${cluster}`]);
  expect(failed.exitCode).toBe(1);
});

test("setconf takes settings from a file and from stdin, so that no secret is in ps", async () => {
  const file = temp.join("settings.json");
  writeFileSync(file, '{"registry_secret_key": "from-file"}');
  const key = (): unknown =>
    (JSON.parse(readFileSync(path("config/template.json"), "utf8")) as Record<string, unknown>)[
      "registry_secret_key"
    ];
  await olDone(["setconf", `--cluster=${cluster}`, `@${file}`]);
  expect(key()).toBe("from-file");
  const stdin = '{"registry_secret_key": "from-stdin"}';
  await olDone(["setconf", `--cluster=${cluster}`, "-"], { stdin });
  expect(key()).toBe("from-stdin");
});
