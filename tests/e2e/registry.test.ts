/**
 * The handler registry through the executable: two workers on one store, a code switch under load,
 * and the commands around it.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts, OL, ol, olDone } from "../helpers/ol.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";
import { INSTALL_TIMEOUT_MS, pythonClients } from "../integration/registry/clients/install.ts";

setDefaultTimeout(scaled(120_000));

const CACHE_MS = 300;
const CLIENTS = 8;

let temp = "";
let cluster = "";
let ports: number[] = [];
let storePort = 0;
let bin = "";

beforeAll(async () => {
  bin = await pythonClients();
  temp = mkdtempSync(join(tmpdir(), "ol-registry-e2e-"));
  cluster = join(temp, "cluster");
  storePort = await freePorts(3);
  ports = [storePort + 1, storePort + 2];
  await olDone(["new", `--cluster=${cluster}`]);
  await olDone(["setconf", `--cluster=${cluster}`, `{"registry_cache_ms": ${CACHE_MS}}`]);
}, INSTALL_TIMEOUT_MS);

afterAll(async () => {
  await ol(["kill", `--cluster=${cluster}`]);
  rmSync(temp, { recursive: true, force: true });
});

function source(name: string, text: string): string {
  const dir = join(temp, name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "lambda_func.py"), text);
  return dir;
}

const version = (number: number): string => `def handler(event):\n    return ${number}\n`;

/** A bundle made by the system's tar, as a user would. */
function tarOf(dir: string): string {
  const path = `${dir}.tar.gz`;
  expect(Bun.spawnSync(["tar", "-C", dir, "-czf", path, "."]).exitCode).toBe(0);
  return path;
}

async function call(port: number, name: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(`http://127.0.0.1:${port}/runLambda/${name}`, {
    method: "POST",
    body: "{}",
  });
  return { status: answer.status, text: await answer.text() };
}

describe("a remote registry shared by two workers", () => {
  test("registry starts with the flags of the original, its secret in no command line", async () => {
    const out = await olDone([
      "registry",
      `--cluster=${cluster}`,
      `--port=${storePort}`,
      "--access-key=ACCESS",
      "--secret-key=sEcReT",
    ]);
    expect(out).toContain(`http://127.0.0.1:${storePort}`);
    const template = JSON.parse(
      readFileSync(join(cluster, "config/template.json"), "utf8"),
    ) as object;
    expect(template).toMatchObject({
      registry: "remote",
      registry_server: `http://127.0.0.1:${storePort}`,
      registry_access_key: "ACCESS",
      registry_secret_key: "sEcReT",
    });
    for (const file of ["config/registry.json", "config/template.json"]) {
      expect(statSync(join(cluster, file)).mode & 0o077).toBe(0);
    }
    const pid = readFileSync(join(cluster, "logs/registry.pid"), "utf8").trim();
    expect(readFileSync(`/proc/${pid}/cmdline`, "latin1")).not.toContain("sEcReT");
    expect(readFileSync(`/proc/${pid}/environ`, "latin1")).not.toContain("sEcReT");
    const again = await ol(["registry", `--cluster=${cluster}`, `--port=${storePort}`]);
    expect(again.exitCode).toBe(1);
    expect(again.stderr).toContain("it runs already");
  });

  test("both workers run what the AWS CLI uploads, and switch under load without an error", async () => {
    await olDone(["workers", `--cluster=${cluster}`, "--num-workers=2", `--port=${ports[0]}`]);
    const cp = async (bundle: string): Promise<void> => {
      const aws = Bun.spawn(
        [
          join(bin, "python"),
          join(bin, "aws"),
          `--endpoint-url=http://127.0.0.1:${storePort}`,
          "--region=us-east-1",
          "s3",
          "cp",
          "--quiet",
          bundle,
          "s3://registry/shared",
        ],
        {
          env: {
            AWS_ACCESS_KEY_ID: "ACCESS",
            AWS_SECRET_ACCESS_KEY: "sEcReT",
            PATH: process.env["PATH"],
          },
          stdout: "inherit",
          stderr: "inherit",
        },
      );
      expect(await aws.exited).toBe(0);
    };
    await cp(tarOf(source("v1", version(1))));
    for (const port of ports)
      expect(await call(port, "shared")).toEqual({ status: 200, text: "1" });

    const wrong: unknown[] = [];
    const newestOf = new Map<number, number>();
    let calls = 0;
    const stop = new AbortController();
    const clients = Array.from({ length: CLIENTS }, async (_, index) => {
      const port = ports[index % ports.length] as number;
      while (!stop.signal.aborted) {
        const answer = await call(port, "shared");
        calls++;
        if (answer.status !== 200) wrong.push(answer);
        newestOf.set(port, Math.max(newestOf.get(port) ?? 0, Number(answer.text)));
      }
    });
    await waitFor(async () => calls > 100, "100 calls under load");
    await cp(tarOf(source("v2", version(2))));
    const uploadedMs = performance.now();
    await waitFor(
      async () => ports.every((port) => newestOf.get(port) === 2),
      "both workers switched",
    );
    const tookMs = performance.now() - uploadedMs;
    const last = await Promise.all(ports.map((port) => call(port, "shared")));
    stop.abort();
    await Promise.all(clients);
    expect(wrong).toEqual([]);
    expect(last.map((answer) => answer.text)).toEqual(["2", "2"]);
    // The limit is registry_cache_ms; the rest is the time of a pull on a busy machine.
    expect(tookMs).toBeLessThan(CACHE_MS + 1500);
  });

  test("upload checks, sends and says how to call; lambdas lists; remove deletes", async () => {
    const dir = source("greet", "def handler(event):\n    return 'hi'\n");
    const out = await olDone([
      "upload",
      `--cluster=${cluster}`,
      "--handler=greet",
      `--file=${dir}`,
    ]);
    expect(out).toContain("Uploaded greet");
    expect(out).toContain(`ol invoke --cluster=${cluster} greet`);
    expect((await call(ports[0] as number, "greet")).text).toBe('"hi"');
    const listed = JSON.parse(await olDone(["lambdas", `--cluster=${cluster}`, "--json"])) as {
      lambdas: { name: string }[];
    };
    expect(listed.lambdas.map((lambda) => lambda.name)).toEqual(["greet", "shared"]);
    await olDone(["remove", `--cluster=${cluster}`, "greet"]);
    const gone = await ol(["remove", `--cluster=${cluster}`, "greet"]);
    expect([gone.exitCode, gone.stderr]).toEqual([1, expect.stringContaining("no such lambda")]);
    await waitFor(
      async () => (await call(ports[0] as number, "greet")).status === 404,
      "greet is gone",
    );
  });

  test("upload refuses what would not run, before it sends anything", async () => {
    const bad: [string, string, RegExp][] = [
      ["syntax", "def handler(event:\n", /line 1/],
      ["nohandler", "x = 1\n", /no handler/],
    ];
    for (const [name, text, why] of bad) {
      const refused = await ol(["upload", `--cluster=${cluster}`, `--file=${source(name, text)}`]);
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toMatch(why);
    }
    const links = source("links", version(1));
    symlinkSync("/etc/passwd", join(links, "x"));
    const refused = await ol(["upload", `--cluster=${cluster}`, `--file=${links}`]);
    expect(refused.stderr).toContain("leaves the lambda's directory");
    const missing = await ol(["upload", `--cluster=${cluster}`, "--file=/nonexistent"]);
    expect(missing.exitCode).toBe(2);
    const keys = ["--access-key=ACCESS", "--secret-key=wrong"];
    const denied = await ol([
      "upload",
      `--cluster=${cluster}`,
      `--file=${source("v3", version(3))}`,
      ...keys,
    ]);
    expect(denied.exitCode).toBe(1);
    expect(denied.stderr).toContain("refused the keys");
  });

  test("upload --watch sends each change until it is told to end", async () => {
    const dir = source("watched", version(1));
    const child = Bun.spawn([OL, "upload", `--cluster=${cluster}`, `--watch=${dir}`], {
      stdout: "ignore",
      stderr: "ignore",
    });
    try {
      const port = ports[1] as number;
      await waitFor(
        async () => (await call(port, "watched")).text === "1",
        "first version is there",
      );
      source("watched", version(2));
      await waitFor(
        async () => (await call(port, "watched")).text === "2",
        "second version is there",
      );
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  });

  test("workers keep their version while the store is away, and follow it when it is back", async () => {
    const pid = Number(readFileSync(join(cluster, "logs/registry.pid"), "utf8"));
    process.kill(pid, "SIGKILL");
    await waitFor(
      async () => (await fetch(`http://127.0.0.1:${storePort}/_status`).catch(() => null)) === null,
      "the store is gone",
    );
    const untilMs = performance.now() + 3 * CACHE_MS;
    while (performance.now() < untilMs) {
      expect(await call(ports[0] as number, "shared")).toEqual({ status: 200, text: "2" });
    }
    await olDone(["registry", `--cluster=${cluster}`, `--port=${storePort}`]);
    await olDone([
      "upload",
      `--cluster=${cluster}`,
      "--handler=shared",
      `--file=${source("v4", version(4))}`,
    ]);
    for (const port of ports) {
      await waitFor(
        async () => (await call(port, "shared")).text === "4",
        "the new version is there",
      );
    }
  });

  test("kill stops the store with the cluster", async () => {
    await olDone(["kill", `--cluster=${cluster}`]);
    expect(await fetch(`http://127.0.0.1:${storePort}/_status`).catch(() => null)).toBeNull();
  });
});

describe("a local registry", () => {
  test("upload, lambdas and remove work on the directory", async () => {
    const local = join(temp, "local");
    await olDone(["new", `--cluster=${local}`]);
    const out = await olDone([
      "upload",
      `--cluster=${local}`,
      "--handler=hello",
      `--file=${source("l1", version(1))}`,
    ]);
    expect(out).toContain("Uploaded hello");
    expect(statSync(join(local, "registry/hello.tar.gz")).isFile()).toBe(true);
    expect(await olDone(["lambdas", `--cluster=${local}`])).toMatch(/^NAME .*\nhello /);
    await olDone(["remove", `--cluster=${local}`, "hello"]);
    expect(await olDone(["lambdas", `--cluster=${local}`])).not.toContain("hello");
  });
});
