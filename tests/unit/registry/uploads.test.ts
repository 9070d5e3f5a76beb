/** Multipart uploads of the embedded store: checksums of the whole, repeated requests, forgotten ones. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  STORE_FINISHED_UPLOADS_MAX,
  STORE_UPLOAD_AGE_MAX_MS,
  STORE_UPLOADS_MAX,
} from "../../../src/common/limits.ts";
import { ObjectStore } from "../../../src/registry/store/object-store.ts";
import { Uploads } from "../../../src/registry/store/uploads.ts";
import { TempDir } from "./archives.ts";
import { codeOf, NOW, openStore, signed, type TestStore } from "./store-client.ts";

const PARTS = ["one ".repeat(100), "two ".repeat(50)];
const sha256 = (data: string | Uint8Array): Buffer => createHash("sha256").update(data).digest();
const WHOLE = sha256(PARTS.join("")).toString("base64");
const COMPOSITE = `${sha256(Buffer.concat(PARTS.map((part) => sha256(part)))).toString("base64")}-2`;

let temp: TempDir;
let store: TestStore;

beforeEach(() => {
  temp = new TempDir();
  store = openStore(temp.path);
});
afterEach(() => temp[Symbol.dispose]());

/** @returns the id of an upload with all parts */
async function begun(headers: Record<string, string> = {}): Promise<string> {
  const reply = await store.handle(signed({ method: "POST", query: [["uploads", ""]], headers }));
  const id = /<UploadId>(\w+)</.exec(reply.body ?? "")?.[1] ?? "";
  for (const [index, body] of PARTS.entries()) {
    const query: [string, string][] = [
      ["partNumber", String(index + 1)],
      ["uploadId", id],
    ];
    expect((await store.handle(signed({ query, body }))).status).toBe(200);
  }
  return id;
}

/** What the parts' elements hold beside number and ETag. */
type PartExtra = (part: string) => string;

function complete(id: string, headers: Record<string, string> = {}, extra: PartExtra = () => "") {
  const parts = PARTS.map((part, index) => {
    const etag = createHash("md5").update(part).digest("hex");
    return `<Part><PartNumber>${index + 1}</PartNumber><ETag>${etag}</ETag>${extra(part)}</Part>`;
  });
  const body = `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`;
  return store.handle(signed({ method: "POST", query: [["uploadId", id]], body, headers }));
}

const headStatus = async (): Promise<number> =>
  (await store.handle(signed({ method: "HEAD" }))).status;

describe("CompleteMultipartUpload", () => {
  const right: [string, Record<string, string>][] = [
    ["of the whole", { "x-amz-checksum-sha256": WHOLE, "x-amz-checksum-type": "FULL_OBJECT" }],
    ["of the whole, untold", { "x-amz-checksum-sha256": WHOLE }],
    ["of the parts", { "x-amz-checksum-sha256": COMPOSITE, "x-amz-checksum-type": "COMPOSITE" }],
    ["of the length", { "x-amz-mp-object-size": String(PARTS.join("").length) }],
  ];
  test.each(right)("accepts a checksum %s", async (_what, headers) => {
    expect(codeOf(await complete(await begun(), headers))).toBe("200");
    expect(await headStatus()).toBe(200);
  });

  const wrong: [string, Record<string, string>, string][] = [
    ["of the whole", { "x-amz-checksum-sha256": sha256("x").toString("base64") }, "BadDigest"],
    ["of the parts", { "x-amz-checksum-sha256": COMPOSITE.replace("-2", "-3") }, "BadDigest"],
    ["of the document", { "content-md5": "AAAAAAAAAAAAAAAAAAAAAA==" }, "BadDigest"],
    ["of the length", { "x-amz-mp-object-size": "7" }, "InvalidRequest"],
  ];
  test.each(wrong)("refuses a wrong one %s, and can be repeated", async (_what, headers, code) => {
    const id = await begun();
    expect(codeOf(await complete(id, headers))).toBe(code);
    expect(await headStatus()).toBe(404);
    expect(codeOf(await complete(id))).toBe("200");
  });

  test("checks the checksums that it repeats for parts", async () => {
    const element = (data: string | Uint8Array): string =>
      `<ChecksumSHA256>${sha256(data).toString("base64")}</ChecksumSHA256>`;
    expect(codeOf(await complete(await begun(), {}, (part) => element(part)))).toBe("200");
    const id = await begun();
    expect(codeOf(await complete(id, {}, () => element("x")))).toBe("InvalidPart");
  });

  test("answers the same when it is repeated, at once or later", async () => {
    const id = await begun();
    const [one, two] = await Promise.all([complete(id), complete(id)]);
    const three = await complete(id);
    const etags = [one, two, three].map(
      (reply) => /<ETag>(.*)<\/ETag>/.exec(reply.body ?? "")?.[1],
    );
    expect(etags).toEqual([etags[0], etags[0], etags[0]]);
    expect(etags[0]).toEndWith("-2&quot;");
    const other = signed({ method: "POST", path: "/registry/other", query: [["uploadId", id]] });
    expect(codeOf(await store.handle(other))).toBe("NoSuchUpload");
  });

  test("remembers a bounded number of finished uploads", () => {
    const uploads = new Uploads(new ObjectStore(temp.path), NOW);
    const ids = Array.from({ length: STORE_FINISHED_UPLOADS_MAX + 1 }, (_, index) => {
      const fields = { bucket: "registry", key: "k", headers: {}, createdMs: NOW };
      const id = uploads.begin(fields);
      uploads.finish(uploads.get(id, "registry", "k"), `etag-${index}`);
      return id;
    });
    expect(uploads.tryFinished(ids[0] ?? "", "registry", "k")).toBeNull();
    expect(uploads.tryFinished(ids.at(-1) ?? "", "registry", "k")).toStartWith("etag-");
  }, 60_000);
});

test("uploads that nobody finished make room after a day, without a restart", async () => {
  const begin = async (): Promise<string> =>
    codeOf(await store.handle(signed({ method: "POST", query: [["uploads", ""]] })));
  // As many as there may be, on disk only: a new store reads them.
  const old = join(temp.path, "uploads");
  for (let number = 0; number < STORE_UPLOADS_MAX; number++) {
    const id = `u${number}`;
    mkdirSync(join(old, id));
    const upload = { id, bucket: "registry", key: "k", headers: {}, createdMs: NOW };
    await Bun.write(join(old, id, "upload.json"), JSON.stringify(upload));
  }
  store = openStore(temp.path);
  expect(await begin()).toBe("SlowDown");
  // Signatures carry the time of the tests, so what comes a day later is asked directly.
  const uploads = new Uploads(new ObjectStore(temp.path), NOW);
  const fields = { bucket: "registry", key: "k", headers: {} };
  expect(() => uploads.begin({ ...fields, createdMs: NOW })).toThrow("Too many");
  const id = uploads.begin({ ...fields, createdMs: NOW + STORE_UPLOAD_AGE_MAX_MS + 1 });
  expect(readdirSync(old)).toEqual([id]);
}, 60_000);

describe("ObjectStore", () => {
  test("delete() keeps an object in the index that the disk does not give up", async () => {
    await store.handle(signed({ body: "data" }));
    const objects = new ObjectStore(temp.path);
    const file = readdirSync(join(temp.path, "buckets/registry"), {
      recursive: true,
      encoding: "utf8",
    }).find((name) => name.includes("/"));
    const path = join(temp.path, "buckets/registry", file ?? "");
    // A directory in the place of the file is what unlink refuses for root as well.
    rmSync(path);
    mkdirSync(path);
    expect(() => objects.delete("registry", "k")).toThrow();
    expect(objects.get("registry", "k")?.key).toBe("k");
    rmSync(path, { recursive: true });
    // Gone already: then there is nothing left to do.
    expect(objects.delete("registry", "k")).toBe(true);
    expect(objects.get("registry", "k")).toBeUndefined();
  });

  test("deleteBucket() keeps a bucket that the disk does not give up", () => {
    const objects = new ObjectStore(temp.path);
    const stray = join(temp.path, "buckets/registry/00/stray");
    mkdirSync(stray, { recursive: true });
    expect(() => objects.deleteBucket("registry")).toThrow("not empty");
    expect(objects.buckets().map(({ name }) => name)).toEqual(["registry"]);
    rmSync(stray, { recursive: true });
    objects.deleteBucket("registry");
    expect(readdirSync(join(temp.path, "buckets"))).toEqual([]);
  });
});
