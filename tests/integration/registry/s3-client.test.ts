/**
 * How the remote registry talks to a store: what it puts into requests, how often it asks, what it
 * believes, and what it does when the store misbehaves while a version is in use.
 */

import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { randomFillSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../../src/common/clock.ts";
import type { OlError } from "../../../src/common/errors.ts";
import { S3_UNKNOWN_NAMES_MAX } from "../../../src/common/limits.ts";
import { silentLogger } from "../../../src/common/log.ts";
import { VersionSource } from "../../../src/lambda/versions.ts";
import { S3Registry } from "../../../src/registry/s3-registry.ts";
import { scaled, waitFor } from "../../helpers/wait-for.ts";
import { type Fault, FaultyProxy } from "./faulty-proxy.ts";
import { failureOf, KEYS, RegistryFixture } from "./fixture.ts";

setDefaultTimeout(scaled(60_000));

const CACHE_MS = 1_000;
const STALL_MS = 300;

const fixture = new RegistryFixture();
let proxy: FaultyProxy;
let nowUs = 0;
const clock: Clock = { nowUs: () => nowUs, wallMs: () => Date.now() };

beforeAll(async () => {
  await fixture.startStore();
});
afterAll(() => fixture[Symbol.asyncDispose]());
beforeEach(async () => {
  nowUs = 0;
  proxy = await FaultyProxy.start(fixture.store?.url ?? "");
});
afterEach(() => proxy[Symbol.asyncDispose]());

const connect = (cacheMs = 0): S3Registry =>
  new S3Registry(proxy.url, KEYS, { stallMs: STALL_MS, cacheMs, clock });

const bundleOf = (text: string): Promise<string> => fixture.bundle({ "lambda_func.py": text });

/** A bundle that is sent in parts. */
function largeBundle(): Promise<string> {
  const data = randomFillSync(Buffer.alloc(17 * 1024 * 1024));
  return fixture.bundle({ "lambda_func.py": "x = 1\n", data });
}

describe("requests", () => {
  const FOREIGN = {
    AWS_SESSION_TOKEN: "foreign-token",
    S3_SESSION_TOKEN: "foreign-token",
    AWS_ACCESS_KEY_ID: "FOREIGNKEY",
    AWS_REGION: "eu-foreign-1",
    S3_BUCKET: "foreign-bucket",
    AWS_ENDPOINT: "http://127.0.0.1:1",
  };
  afterEach(() => {
    for (const name of Object.keys(FOREIGN)) delete process.env[name];
  });

  test("are signed in headers with the keys that were given, whatever the environment says", async () => {
    Object.assign(process.env, FOREIGN);
    const registry = connect();
    const version = await registry.put("env", await bundleOf("x = 1\n"));
    await registry.put("env-large", await largeBundle());
    await registry.pull("env", version, fixture.newDir());
    expect((await registry.list()).map(({ name }) => name)).toEqual(["env", "env-large"]);
    for (const name of ["env", "env-large"]) expect(await registry.remove(name)).toBe(true);
    const sent = JSON.stringify(
      proxy.seen.map(({ target, headers }) => [target, headers]),
    ).toLowerCase();
    expect(proxy.seen.length).toBeGreaterThan(8);
    expect(sent).not.toContain("foreign");
    expect(sent).not.toContain("x-amz-security-token");
    expect(proxy.seen.filter(({ target }) => /signature/i.test(target))).toEqual([]);
  });

  test("a listing and an upload in parts end when the store is silent", async () => {
    const bundle = await largeBundle();
    proxy.plan = ["silent"];
    const failures = [failureOf(connect().list()), failureOf(connect().put("big", bundle))];
    for (const error of (await Promise.all(failures)) as OlError[]) {
      expect(error.code).toBe("registry_unavailable");
    }
  });

  test("an upload in parts that fails is taken back", async () => {
    const bundle = await largeBundle();
    proxy.plan = ["none", "none", "500", "500", "500", "none"];
    const error = (await failureOf(connect().put("big", bundle))) as OlError;
    expect(error.code).toBe("registry_unavailable");
    expect(proxy.seen.at(-1)?.method).toBe("DELETE");
    expect(await connect().resolve("big")).toBeNull();
  });

  test("an upload in parts survives a lost answer to its last request", async () => {
    const bundle = await largeBundle();
    // Begun, three parts, the end.
    proxy.plan = ["none", "none", "none", "none", "cut", "none"];
    const version = await connect().put("big", bundle);
    expect(await connect().resolve("big")).toEqual(version);
    await connect().remove("big");
  });
});

describe("pull()", () => {
  test("checks the digest of a bundle that was sent in parts", async () => {
    const registry = connect();
    const version = await registry.put("big", await largeBundle());
    expect(version.id).toContain("-");
    proxy.plan = ["damaged", "none"];
    expect(await registry.pull("big", version, fixture.newDir())).toEqual(version);
    proxy.plan = ["damaged"];
    const error = (await failureOf(registry.pull("big", version, fixture.newDir()))) as OlError;
    expect([error.code, error.message]).toEqual([
      "registry_unavailable",
      expect.stringContaining("damaged"),
    ]);
    proxy.plan = ["none"];
    await registry.remove("big");
  });

  test("checks the checksums that a store gives", async () => {
    const bundle = await Bun.file(await bundleOf("x = 1\n")).bytes();
    let checksum = Bun.hash.crc32(bundle);
    await using store = Bun.serve({
      port: 0,
      fetch: () => {
        const base64 = Buffer.alloc(4);
        base64.writeUInt32BE(checksum);
        const sums = { "x-amz-checksum-crc32": base64.toString("base64") };
        return new Response(bundle, { headers: { etag: '"not-md5-1"', ...sums } });
      },
    });
    const registry = new S3Registry(store.url.href, KEYS);
    const version = { id: "not-md5-1" };
    expect(await registry.pull("x", version, fixture.newDir())).toEqual(version);
    checksum ^= 1;
    checksum >>>= 0;
    const error = (await failureOf(registry.pull("x", version, fixture.newDir()))) as OlError;
    expect(error.message).toContain("damaged");
  });

  test("takes an object with a content encoding as it is stored", async () => {
    const bundle = await Bun.file(await bundleOf("x = 2\n")).bytes();
    const client = new Bun.S3Client({
      endpoint: fixture.store?.url ?? "",
      bucket: "registry",
      accessKeyId: KEYS.accessKey,
      secretAccessKey: KEYS.secretKey,
    });
    const url = client.presign("encoded", { method: "PUT" });
    const headers = { "content-encoding": "gzip" };
    expect((await fetch(url, { method: "PUT", body: bundle, headers })).status).toBe(200);
    const registry = connect();
    const version = await registry.resolve("encoded");
    const dest = fixture.newDir();
    await registry.pull("encoded", version ?? { id: "" }, dest);
    expect(fixture.handlerOf(dest)).toBe("x = 2\n");
    await registry.remove("encoded");
  });
});

describe("names without a version", () => {
  test("are asked for at most once per registry_cache_ms", async () => {
    const registry = connect(CACHE_MS);
    await registry.resolve("unknown");
    const first = proxy.seen.length;
    for (let round = 0; round < 5; round++) expect(await registry.resolve("unknown")).toBeNull();
    expect(proxy.seen.length).toBe(first);
    // Uploaded by another process: seen when the time is over, and at once by whoever uploads.
    await new S3Registry(fixture.store?.url ?? "", KEYS).put("unknown", await bundleOf("x = 1\n"));
    expect(await registry.resolve("unknown")).toBeNull();
    nowUs += CACHE_MS * 1000;
    expect(await registry.resolve("unknown")).not.toBeNull();
    await registry.remove("unknown");
    expect(await registry.resolve("unknown")).toBeNull();
    const version = await registry.put("unknown", await bundleOf("x = 1\n"));
    expect(await registry.resolve("unknown")).toEqual(version);
    await registry.remove("unknown");
  });

  test("and a store that fails are asked for at most once as well", async () => {
    const registry = connect(CACHE_MS);
    proxy.plan = ["403"];
    for (let round = 0; round < 5; round++) {
      expect(await failureOf(registry.resolve("some"))).toMatchObject({ code: "registry_denied" });
    }
    expect(proxy.seen.length).toBe(1);
    nowUs += CACHE_MS * 1000;
    proxy.plan = ["none"];
    expect(await registry.resolve("some")).toBeNull();
  });

  test("are remembered in a bounded number", async () => {
    const registry = connect(CACHE_MS);
    proxy.plan = ["404"];
    const loaded = Array.from({ length: S3_UNKNOWN_NAMES_MAX + 1 }, (_, index) => `n${index}`);
    const bucket = (await failureOf(registry.resolve("x"))) as OlError;
    expect(bucket.message).toContain("no bucket");
    proxy.plan = ["none"];
    for (const name of loaded) await registry.resolve(name);
    const asked = proxy.seen.length;
    await registry.resolve(loaded.at(-1) ?? "");
    expect(proxy.seen.length).toBe(asked);
    await registry.resolve(loaded[0] ?? "");
    expect(proxy.seen.length).toBe(asked + 1);
  });
});

describe("a version in use stays in use", () => {
  const source = (name: string): VersionSource =>
    new VersionSource(name, {
      registry: connect(),
      installer: null,
      codeRoot: fixture.newDir(),
      cacheMs: CACHE_MS,
      clock,
      log: silentLogger,
    });
  const textOf = async (versions: VersionSource): Promise<string> => {
    const version = await versions.current();
    return readFileSync(join(version?.codeDir ?? "", "lambda_func.py"), "utf8");
  };
  const faults: [string, Fault[]][] = [
    ["refuses", ["403"]],
    ["fails", ["500"]],
    ["is busy", ["503"]],
    ["is silent", ["silent"]],
    ["is cut while the new version is read", ["none", "cut"]],
    ["stalls while the new version is read", ["none", "slow"]],
    ["damages the new version", ["none", "damaged"]],
  ];
  test.each(faults)("while the store %s", async (_what, plan) => {
    const direct = new S3Registry(fixture.store?.url ?? "", KEYS);
    await direct.put("used", await bundleOf("old"));
    const versions = source("used");
    expect(await textOf(versions)).toBe("old");
    await direct.put("used", await bundleOf(`new ${"# filler\n".repeat(200)}`));
    proxy.plan = [...plan];
    nowUs += CACHE_MS * 1000;
    expect(await textOf(versions)).toBe("old");
    // And follows by itself once the store is well.
    proxy.plan = ["none"];
    await waitFor(async () => {
      nowUs += CACHE_MS * 1000;
      return (await textOf(versions)).startsWith("new");
    }, "the new version is in use");
  });

  test("while nothing listens there", async () => {
    await using own = new RegistryFixture();
    const store = await own.startStore();
    const registry = new S3Registry(store.url, KEYS, { stallMs: STALL_MS });
    await registry.put("used", await bundleOf("old"));
    const options = { registry, installer: null, codeRoot: own.newDir(), cacheMs: CACHE_MS };
    const versions = new VersionSource("used", { ...options, clock, log: silentLogger });
    expect(await textOf(versions)).toBe("old");
    await store.stop();
    nowUs += CACHE_MS * 1000;
    expect(await textOf(versions)).toBe("old");
    own.store = null;
  });
});
