/** What the embedded store promises beyond the protocol: memory, durability, refusals on raw sockets. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statfsSync, statSync, truncateSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { S3Registry } from "../../../src/registry/s3-registry.ts";
import { requires } from "../../helpers/requires.ts";
import { scaled, waitFor } from "../../helpers/wait-for.ts";
import { failureOf, KEYS, RegistryFixture } from "./fixture.ts";

setDefaultTimeout(scaled(120_000));

interface StoreProcess extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  kill(): Promise<void>;
}

async function startProcess(dir: string): Promise<StoreProcess> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "fixture.ts"), dir], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await child.exited;
  };
  return {
    url: new TextDecoder().decode(value).trim(),
    pid: child.pid,
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

function client(url: string): Bun.S3Client {
  return new Bun.S3Client({
    endpoint: url,
    bucket: "registry",
    accessKeyId: KEYS.accessKey,
    secretAccessKey: KEYS.secretKey,
  });
}

function peakMemoryMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

/** A body that comes in pieces of 1 MiB; never ends where `stop` says so. */
function pieces(count: number, stop?: Promise<void>): ReadableStream<Uint8Array> {
  let sent = 0;
  return new ReadableStream({
    async pull(controller) {
      if (sent++ < count) controller.enqueue(new Uint8Array(1024 * 1024).fill(sent));
      else {
        await stop;
        controller.close();
      }
    },
  });
}

/** PUT with an announced length, by way of the system's curl-free raw socket. */
function rawPut(url: string, path: string, announced: number, body: Uint8Array): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(`PUT ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\n`);
      socket.write(`Content-Length: ${announced}\r\nConnection: close\r\n\r\n`);
      socket.write(body);
    });
    let answer = "";
    socket.on("data", (chunk) => (answer += chunk.toString("latin1")));
    socket.on("end", () => resolve(answer));
    socket.on("error", reject);
  });
}

test("a bundle of 200 MB goes in and out without being held in memory", async () => {
  await using fixture = new RegistryFixture();
  await using store = await startProcess(join(fixture.dir, "data"));
  const before = peakMemoryMb(store.pid);
  const bundle = join(fixture.dir, "big");
  await Bun.write(bundle, new Uint8Array(200 * 1024 * 1024).fill(7));
  const url = client(store.url).presign("big", { method: "PUT" });
  const put = await fetch(url, { method: "PUT", body: Bun.file(bundle) });
  expect(put.status).toBe(200);
  const get = await fetch(client(store.url).presign("big"));
  expect(get.headers.get("content-length")).toBe(String(200 * 1024 * 1024));
  let length = 0;
  for await (const chunk of get.body as unknown as AsyncIterable<Uint8Array>)
    length += chunk.length;
  expect(length).toBe(200 * 1024 * 1024);
  expect(peakMemoryMb(store.pid) - before).toBeLessThan(80);
});

test("kill -9 in the middle of a put leaves the old object, whole, and nothing else", async () => {
  await using fixture = new RegistryFixture();
  const dir = join(fixture.dir, "data");
  await using store = await startProcess(dir);
  await client(store.url).write("hello", "old");
  const url = new URL(client(store.url).presign("hello", { method: "PUT" }));
  const cut = rawPut(store.url, url.pathname + url.search, 50_000_000, new Uint8Array(3_000_000));
  const arrived = (): boolean =>
    readdirSync(join(dir, "tmp")).some(
      (file) => statSync(join(dir, "tmp", file)).size >= 3_000_000,
    );
  await waitFor(arrived, "3 MB have arrived");
  await store.kill();
  await cut.catch(() => null);
  await using again = await startProcess(dir);
  expect(await client(again.url).file("hello").text()).toBe("old");
  const listed = await client(again.url).list();
  expect(listed.contents?.map((item) => [item.key, item.size])).toEqual([["hello", 3]]);
  expect(readdirSync(join(dir, "tmp"))).toEqual([]);
});

test("a client that goes away in the middle of a put changes nothing", async () => {
  await using fixture = new RegistryFixture();
  const store = await fixture.startStore();
  await client(store.url).write("hello", "old");
  const tmp = join(fixture.dir, "store/tmp");
  const { hostname, port } = new URL(store.url);
  const url = new URL(client(store.url).presign("hello", { method: "PUT" }));
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(`PUT ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${hostname}:${port}\r\n`);
      socket.write("Content-Length: 100\r\n\r\nhalf", () => socket.destroy());
    });
    socket.on("close", () => resolve());
  });
  await waitFor(() => readdirSync(tmp).length === 0, "the staged file is gone");
  expect(await client(store.url).file("hello").text()).toBe("old");
});

test("objects, parts and buckets are there after a restart; a torn file is no object", async () => {
  await using fixture = new RegistryFixture();
  let store = await fixture.startStore();
  await client(store.url).write("kept ü", "kept");
  await client(store.url).write("torn", "torn");
  await store.stop();
  const bucket = join(fixture.dir, "store/buckets/registry");
  const torn = readdirSync(bucket, { recursive: true, encoding: "utf8" })
    .map((file) => join(bucket, file))
    .find(
      (file) => statSync(file).isFile() && readFileSync(file, "latin1").includes('"key":"torn"'),
    );
  truncateSync(torn as string, statSync(torn as string).size - 3);
  store = await fixture.startStore();
  expect(await client(store.url).file("kept ü").text()).toBe("kept");
  const listed = await client(store.url).list();
  expect(listed.contents?.map((item) => item.key)).toEqual(["kept ü"]);
});

test("a reader of the old object gets all of it while a new one is put", async () => {
  await using fixture = new RegistryFixture();
  const store = await fixture.startStore();
  await client(store.url).write("k", new Uint8Array(8_000_000).fill(1));
  const get = await fetch(client(store.url).presign("k"));
  await client(store.url).write("k", new Uint8Array(8_000_000).fill(2));
  const data = new Uint8Array(await get.arrayBuffer());
  expect(data.length).toBe(8_000_000);
  expect(data.every((byte) => byte === 1)).toBe(true);
});

test("an unsigned, oversized or lengthless put is refused before its body is read", async () => {
  await using fixture = new RegistryFixture();
  const store = await fixture.startStore();
  expect(await rawPut(store.url, "/registry/x", 10, new Uint8Array())).toContain("403");
  const url = new URL(client(store.url).presign("x", { method: "PUT" }));
  const target = url.pathname + url.search;
  expect(await rawPut(store.url, target, 6 * 1024 ** 3, new Uint8Array())).toContain(
    "EntityTooLarge",
  );
  const chunked = await fetch(url, { method: "PUT", body: pieces(1, Promise.resolve()) });
  expect([chunked.status, await chunked.text()]).toEqual([
    411,
    expect.stringContaining("MissingContentLength"),
  ]);
  expect(await failureOf(client(store.url).file("x").text())).toMatchObject({ code: "NoSuchKey" });
});

test("the health path answers without keys, and tells nothing else", async () => {
  await using fixture = new RegistryFixture();
  const store = await fixture.startStore();
  const answer = await fetch(`${store.url}/_status`);
  expect([answer.status, await answer.text()]).toEqual([200, "ready\n"]);
  expect((await fetch(`${store.url}/`)).status).toBe(403);
});

test("a port that is taken is an error that says so", async () => {
  await using fixture = new RegistryFixture();
  const store = await fixture.startStore();
  await using second = new RegistryFixture();
  const error = await failureOf(second.startStore(store.port));
  expect(error).toMatchObject({ code: "port_taken" });
});

/** A file system of 2 MiB for one test. */
class SmallDisk implements Disposable {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir);
    expect(Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=2m", "none", dir]).exitCode).toBe(0);
  }

  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#dir);
    return bavail * bsize;
  }

  [Symbol.dispose](): void {
    Bun.spawnSync(["umount", this.#dir]);
  }
}

requires({ root: true })(
  "a full disk is told as such and leaves what was there, whole",
  async () => {
    await using fixture = new RegistryFixture();
    const dir = join(fixture.dir, "store");
    using disk = new SmallDisk(dir);
    expect(disk.freeBytes()).toBeLessThan(3 * 1024 * 1024);
    const store = await fixture.startStore();
    const s3 = client(store.url);
    await s3.write("kept", "kept");
    const large = randomFillSync(new Uint8Array(4 * 1024 * 1024));
    const put = async (path: string): Promise<unknown> => {
      const answer = await fetch(s3.presign(path, { method: "PUT" }), {
        method: "PUT",
        body: large,
      });
      return [answer.status, /<Code>(\w+)/.exec(await answer.text())?.[1]];
    };
    expect(await put("kept")).toEqual([507, "StorageFull"]);
    expect(readdirSync(join(dir, "tmp"))).toEqual([]);
    expect(await s3.file("kept").text()).toBe("kept");

    const registry = new S3Registry(store.url, KEYS);
    const small = await fixture.bundle({ "lambda_func.py": "x = 1\n" });
    const version = await registry.put("hello", small);
    for (const sizeMib of [4, 17]) {
      const data = randomFillSync(new Uint8Array(sizeMib * 1024 * 1024));
      const bundle = await fixture.bundle({ "lambda_func.py": "x = 2\n", data });
      expect(await failureOf(registry.put("hello", bundle))).toMatchObject({
        code: "registry_unavailable",
        message: expect.stringContaining("507 StorageFull"),
      });
      expect([readdirSync(join(dir, "tmp")), readdirSync(join(dir, "uploads"))]).toEqual([[], []]);
    }
    expect(await registry.resolve("hello")).toEqual(version);
    await registry.pull("hello", version, fixture.newDir());
    expect((await registry.list()).map(({ name }) => name)).toEqual(["hello", "kept"]);
    // There is room for small things still, also after a restart.
    await store.stop();
    await fixture.startStore(store.port);
    await s3.write("later", "later");
    expect(await s3.file("later").text()).toBe("later");
    await fixture.store?.stop();
    fixture.store = null;
  },
);
