/**
 * The remote registry against two S3 implementations: the embedded store, and moto's server, which
 * was written by others. Faults come from a proxy in between.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { OlError } from "../../../src/common/errors.ts";
import { openRegistry } from "../../../src/registry/open.ts";
import { S3Registry } from "../../../src/registry/s3-registry.ts";
import { scaled, waitFor } from "../../helpers/wait-for.ts";
import { INSTALL_TIMEOUT_MS, pythonClients } from "./clients/install.ts";
import { type Fault, FaultyProxy } from "./faulty-proxy.ts";
import { failureOf, KEYS, RegistryFixture } from "./fixture.ts";

setDefaultTimeout(scaled(60_000));

const fixture = new RegistryFixture();
let moto: Bun.Subprocess | null = null;
const servers: Record<string, string> = {};

beforeAll(async () => {
  servers["embedded store"] = (await fixture.startStore()).url;
  const bin = await pythonClients();
  const port = await freePort();
  moto = Bun.spawn([join(bin, "moto_server"), "-H", "127.0.0.1", "-p", String(port)], {
    stdout: "ignore",
    stderr: "ignore",
  });
  const url = `http://127.0.0.1:${port}`;
  await waitFor(
    async () => (await fetch(`${url}/moto-api/`).catch(() => null)) !== null,
    "moto answers",
    60_000,
  );
  const made = await fetch(`${url}/registry`, { method: "PUT" });
  expect(made.status).toBe(200);
  servers["moto"] = url;
}, INSTALL_TIMEOUT_MS);

afterAll(async () => {
  moto?.kill();
  await moto?.exited;
  await fixture[Symbol.asyncDispose]();
});

async function freePort(): Promise<number> {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop(true);
  return port;
}

function connect(server: string, stallMs?: number): S3Registry {
  return new S3Registry(server, KEYS, stallMs === undefined ? {} : { stallMs });
}

describe.each(["embedded store", "moto"])("S3Registry on %s", (which) => {
  test("puts, resolves, pulls, lists and removes a lambda", async () => {
    const registry = openRegistry({
      kind: "remote",
      server: servers[which] as string,
      cacheMs: 0,
      ...KEYS,
    });
    expect(await registry.resolve("hello")).toBeNull();
    const put = await registry.put("hello", await fixture.bundle({ "lambda_func.py": "one" }));
    const resolved = await registry.resolve("hello");
    expect(resolved).toEqual(put);
    const dest = fixture.newDir();
    expect(await registry.pull("hello", put, dest)).toEqual(put);
    expect(fixture.handlerOf(dest)).toBe("one");
    expect(await registry.list()).toMatchObject([{ name: "hello", version: put.id }]);
    expect(await registry.remove("hello")).toBe(true);
    expect(await registry.remove("hello")).toBe(false);
    expect(await registry.list()).toEqual([]);
  });

  test("resolve() with the known version is answered without a new one until it changes", async () => {
    const registry = connect(servers[which] as string);
    const one = await registry.put("cond", await fixture.bundle({ "lambda_func.py": "1" }));
    expect(await registry.resolve("cond", one)).toBe(one);
    const two = await registry.put("cond", await fixture.bundle({ "lambda_func.py": "22" }));
    expect(await registry.resolve("cond", one)).toEqual(two);
    expect(two.id).not.toBe(one.id);
    await registry.remove("cond");
    expect(await registry.resolve("cond", two)).toBeNull();
  });

  test("pull() of a version that was replaced gives the new one and says so", async () => {
    const registry = connect(servers[which] as string);
    const old = await registry.put("moved", await fixture.bundle({ "lambda_func.py": "old" }));
    const now = await registry.put("moved", await fixture.bundle({ "lambda_func.py": "new" }));
    const dest = fixture.newDir();
    expect(await registry.pull("moved", old, dest)).toEqual(now);
    expect(fixture.handlerOf(dest)).toBe("new");
    await registry.remove("moved");
  });

  test("put() sends a large bundle in parts and tells how far it is", async () => {
    const registry = connect(servers[which] as string);
    const data = crypto.getRandomValues(Buffer.alloc(20 * 1024 * 1024).subarray(0, 65536));
    const big = Buffer.concat(
      Array.from({ length: 320 }, () => crypto.getRandomValues(Buffer.from(data))),
    );
    const bundle = await fixture.bundle({ "lambda_func.py": "big", data: big });
    const told: number[] = [];
    const version = await registry.put("big", bundle, (sent, total) => told.push(sent / total));
    expect(told.length).toBeGreaterThan(3);
    expect(told.at(-1)).toBe(1);
    const dest = fixture.newDir();
    await registry.pull("big", version, dest);
    expect(Buffer.compare(await Bun.file(join(dest, "data")).bytes(), big)).toBe(0);
    await registry.remove("big");
  });

  test("a bucket and prefix of the address are used, a missing bucket is an error", async () => {
    const registry = connect(`${servers[which]}/registry/team/`);
    const version = await registry.put("in-team", await fixture.bundle({ "lambda_func.py": "t" }));
    expect(await registry.list()).toMatchObject([{ name: "in-team", version: version.id }]);
    await registry.remove("in-team");
    const lost = connect(`${servers[which]}/no-such-bucket`);
    const error = (await failureOf(lost.resolve("x"))) as OlError;
    expect([error.code, error.message]).toEqual([
      "registry_unavailable",
      expect.stringContaining('no bucket "no-such-bucket"'),
    ]);
  });

  test("pull() of a broken bundle leaves nothing behind", async () => {
    const registry = connect(servers[which] as string);
    const path = join(fixture.dir, "broken.tar.gz");
    await Bun.write(path, "not gzip");
    const version = await registry.put("broken", path);
    const dest = fixture.newDir();
    const error = (await failureOf(registry.pull("broken", version, dest))) as OlError;
    expect(error.code).toBe("bundle_invalid");
    expect(readdirSync(dest)).toEqual([]);
    expect(readdirSync(join(dest, "..")).filter((name) => name.includes("~"))).toEqual([]);
    await registry.remove("broken");
  });

  test("resolve() gives null for names that no lambda has, without asking", async () => {
    const registry = connect("http://127.0.0.1:1");
    expect(await registry.resolve("../x")).toBeNull();
  });
});

describe("S3Registry on the embedded store", () => {
  test("refused keys are told as such, without the secret", async () => {
    const registry = new S3Registry(servers["embedded store"] as string, {
      ...KEYS,
      secretKey: "wrongsecret",
    });
    const failures = [
      failureOf(registry.resolve("x")),
      failureOf(registry.list()),
      failureOf(registry.pull("x", { id: "y" }, fixture.newDir())),
    ];
    for (const error of (await Promise.all(failures)) as OlError[]) {
      expect(error.code).toBe("registry_denied");
      expect(error.message).not.toContain("wrongsecret");
    }
  });

  test("works again by itself after the store was away", async () => {
    await using own = new RegistryFixture();
    const first = await own.startStore();
    const registry = connect(first.url);
    const version = await registry.put("hello", await own.bundle({ "lambda_func.py": "kept" }));
    await first.stop();
    const error = (await failureOf(registry.resolve("hello", version))) as OlError;
    expect([error.code, error.retryable]).toEqual(["registry_unavailable", true]);
    await own.startStore(first.port);
    expect(await registry.resolve("hello", version)).toBe(version);
    const dest = own.newDir();
    await registry.pull("hello", version, dest);
    expect(own.handlerOf(dest)).toBe("kept");
  });

  test("two puts of one name at once leave one of them, whole", async () => {
    const registry = connect(servers["embedded store"] as string);
    const bundles = await Promise.all(
      ["a", "b"].map((text) => fixture.bundle({ "lambda_func.py": text.repeat(100_000) })),
    );
    for (let round = 0; round < 5; round++) {
      await Promise.all(bundles.map((bundle) => registry.put("race", bundle)));
      const dest = fixture.newDir();
      const version = await registry.resolve("race");
      await registry.pull("race", version as { id: string }, dest);
      expect(["a".repeat(100_000), "b".repeat(100_000)]).toContain(fixture.handlerOf(dest));
    }
    await registry.remove("race");
  });
});

describe("S3Registry behind a faulty network", () => {
  const cases: [string, Fault[], string | null][] = [
    ["one 500", ["500", "none"], null],
    ["two cut connections", ["cut", "cut", "none"], null],
    ["damaged data once", ["damaged", "none"], null],
    ["500 without end", ["500"], "registry_unavailable"],
    ["cut without end", ["cut"], "registry_unavailable"],
    ["damaged without end", ["damaged"], "registry_unavailable"],
    ["silence", ["silent"], "registry_unavailable"],
    ["403", ["403"], "registry_denied"],
  ];
  test.each(cases)("pull() after %s: whole or nothing", async (what, plan, code) => {
    const direct = connect(servers["embedded store"] as string);
    const text = `# ${what}\n${"x = 1\n".repeat(500)}`;
    const version = await direct.put("faulty", await fixture.bundle({ "lambda_func.py": text }));
    await using proxy = await FaultyProxy.start(servers["embedded store"] as string, plan);
    const registry = connect(proxy.url, 300);
    const dest = fixture.newDir();
    if (code === null) {
      expect(await registry.pull("faulty", version, dest)).toEqual(version);
      expect(fixture.handlerOf(dest)).toBe(text);
      expect(proxy.seen.length).toBe(plan.length);
    } else {
      const error = (await failureOf(registry.pull("faulty", version, dest))) as OlError;
      expect(error.code as string).toBe(code);
      expect(readdirSync(dest)).toEqual([]);
    }
    expect(readdirSync(fixture.dir).filter((name) => name.includes("~"))).toEqual([]);
  });
});
