/** Nothing that a request says of itself is ignored: it is done, or the request is refused. */

import { afterAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { TempDir } from "./archives.ts";
import { codeOf, type Draft, once, openStore, presigned, signed } from "./store-client.ts";

const temp = new TempDir();
afterAll(() => temp[Symbol.dispose]());
const { handle } = openStore(temp.path);

const md5 = (text: string): string => createHash("md5").update(text).digest("hex");
const run = async (draft: Draft): Promise<string> => codeOf(await handle(signed(draft)));
const put = (path: string, body: string): Promise<string> => run({ path, body });
const head = (path: string) => handle(signed({ method: "HEAD", path }));
const etagOf = async (path: string): Promise<string | undefined> =>
  (await head(path)).headers?.["etag"]?.replaceAll('"', "");

describe("headers in the query of a presigned URL", () => {
  test("x-amz-copy-source copies, and does not put an empty object", async () => {
    await put("/registry/from", "data");
    await put("/registry/to", "before");
    const extra = { "x-amz-copy-source": "/registry/from" };
    expect(codeOf(await handle(presigned("PUT", "/registry/to", extra)))).toBe("200");
    expect(await etagOf("/registry/to")).toBe(md5("data"));
  });

  test("x-amz-meta-* is kept, however it is spelled", async () => {
    const extra = { "X-Amz-Meta-Who": "me" };
    expect(codeOf(await handle(presigned("PUT", "/registry/meta", extra)))).toBe("200");
    expect((await head("/registry/meta")).headers?.["x-amz-meta-who"]).toBe("me");
  });

  test("a wrong checksum is refused", async () => {
    const extra = { "x-amz-checksum-crc32": "AAAAAA==" };
    const wire = presigned("PUT", "/registry/sum", extra);
    const headers = { ...wire.headers, "content-length": "4" };
    expect(codeOf(await handle({ ...wire, headers, body: once("data") }))).toBe("BadDigest");
    expect(await etagOf("/registry/sum")).toBeUndefined();
  });

  test("one that also comes as a header, or twice, is refused", async () => {
    const query: [string, string][] = [["x-amz-meta-a", "1"]];
    expect(await run({ query, headers: { "x-amz-meta-a": "2" } })).toBe("InvalidArgument");
    expect(await run({ query: [...query, ["X-Amz-Meta-A", "2"]] })).toBe("InvalidArgument");
    expect(await run({ query })).toBe("200");
  });

  test("one that asks for what there is not is refused", async () => {
    for (const name of ["x-amz-tagging", "x-amz-server-side-encryption", "x-amz-unheard-of"]) {
      const wire = presigned("PUT", "/registry/k", { [name]: "x" });
      expect([name, codeOf(await handle(wire))]).toEqual([name, "NotImplemented"]);
    }
  });
});

describe("overrides of headers", () => {
  const getWith = (value: string) =>
    run({ method: "GET", path: "/registry/k", query: [["response-content-type", value]] });

  test.each(["😀", "a\r\nb", "ā"])(
    "%j: InvalidArgument, as no header can hold it",
    async (value) => {
      await put("/registry/k", "data");
      expect(await getWith(value)).toBe("InvalidArgument");
    },
  );

  test.each(["text/plain; x=ü", "", "a\tb"])("%j: accepted", async (value) => {
    await put("/registry/k", "data");
    expect(await getWith(value)).toBe("200");
  });
});

describe("x-amz- headers", () => {
  const refused: [string, Draft][] = [
    ["tags", { headers: { "x-amz-tagging": "a=b" } }],
    ["public access", { headers: { "x-amz-acl": "public-read" } }],
    ["grants", { headers: { "x-amz-grant-read": "id=1" } }],
    ["encryption", { headers: { "x-amz-server-side-encryption": "aws:kms" } }],
    ["a lock", { headers: { "x-amz-object-lock-mode": "COMPLIANCE" } }],
    ["a class of storage", { headers: { "x-amz-storage-class": "GLACIER" } }],
    ["appending", { headers: { "x-amz-write-offset-bytes": "4" } }],
    ["a redirect", { headers: { "x-amz-website-redirect-location": "/x" } }],
    ["a range of a copy", copy({ "x-amz-copy-source-range": "bytes=0-1" })],
    [
      "a lock in a bucket",
      { path: "/new-bucket", headers: { "x-amz-bucket-object-lock-enabled": "true" } },
    ],
    ["a copy in a GET", { method: "GET", headers: { "x-amz-copy-source": "/registry/from" } }],
    ["metadata in a DELETE", { method: "DELETE", headers: { "x-amz-meta-a": "b" } }],
    ["a size in a DELETE", { method: "DELETE", headers: { "x-amz-if-match-size": "4" } }],
    ["an override in a PUT", { query: [["response-content-type", "text/plain"]] }],
  ];
  test.each(refused)("%s: NotImplemented, and nothing is changed", async (_what, draft) => {
    await put("/registry/from", "data");
    await put("/registry/k", "kept");
    expect(await run(draft)).toBe("NotImplemented");
    expect(await etagOf("/registry/k")).toBe(md5("kept"));
    expect((await handle(signed({ method: "HEAD", path: "/new-bucket" }))).status).toBe(404);
  });

  const harmless: [string, Draft][] = [
    ["private access", { headers: { "x-amz-acl": "private" } }],
    ["the usual class", { headers: { "x-amz-storage-class": "STANDARD" } }],
    [
      "the client's name",
      { headers: { "x-amz-user-agent": "aws-sdk-js", "amz-sdk-request": "1" } },
    ],
    ["how it sums", { headers: { "x-amz-sdk-checksum-algorithm": "CRC32" } }],
    ["that it wants sums", { method: "HEAD", headers: { "x-amz-checksum-mode": "ENABLED" } }],
    ["copied tags, of which there are none", copy({ "x-amz-tagging-directive": "COPY" })],
  ];
  test.each(harmless)("%s: accepted", async (_what, draft) => {
    await put("/registry/from", "data");
    await put("/registry/k", "kept");
    expect(await run(draft)).toBe("200");
  });
});

function copy(headers: Record<string, string>): Draft {
  return { headers: { "x-amz-copy-source": "/registry/from", ...headers } };
}

describe("preconditions", () => {
  const other = '"00000000000000000000000000000000"';
  const past = "Thu, 01 Jan 2015 00:00:00 GMT";
  const future = "Fri, 01 Jan 2027 00:00:00 GMT";
  const copies: [string, Record<string, string>, string][] = [
    ["source-if-match of another", { "x-amz-copy-source-if-match": other }, "412"],
    ["source-if-match of it", { "x-amz-copy-source-if-match": md5("data") }, "200"],
    ["source-if-none-match of it", { "x-amz-copy-source-if-none-match": md5("data") }, "412"],
    ["source-if-none-match of another", { "x-amz-copy-source-if-none-match": other }, "200"],
    ["source-if-modified-since later", { "x-amz-copy-source-if-modified-since": future }, "412"],
    ["source-if-modified-since before", { "x-amz-copy-source-if-modified-since": past }, "200"],
    ["source-if-unmodified-since before", { "x-amz-copy-source-if-unmodified-since": past }, "412"],
    ["if-none-match any", { "if-none-match": "*" }, "412"],
    ["if-match of another", { "if-match": other }, "412"],
    ["if-match of the target", { "if-match": md5("kept") }, "200"],
    ["an unknown directive", { "x-amz-metadata-directive": "MERGE" }, "InvalidArgument"],
  ];
  test.each(copies)("copy with %s", async (_what, headers, wanted) => {
    await put("/registry/from", "data");
    await put("/registry/k", "kept");
    const code = wanted === "412" ? "PreconditionFailed" : wanted;
    expect(await run(copy(headers))).toBe(code);
    expect(await etagOf("/registry/k")).toBe(md5(wanted === "200" ? "data" : "kept"));
  });

  test("DELETE with If-Match deletes that object or none", async () => {
    await put("/registry/k", "kept");
    expect(await run({ method: "DELETE", headers: { "if-match": other } })).toBe(
      "PreconditionFailed",
    );
    expect(await etagOf("/registry/k")).toBe(md5("kept"));
    const right = { method: "DELETE", headers: { "if-match": `"${md5("kept")}"` } };
    expect(await run(right)).toBe("204");
    // What is not there is as the client wants it.
    expect(await run(right)).toBe("204");
  });

  test("DeleteObjects keeps to each object's ETag and refuses versions", async () => {
    for (const key of ["a", "b", "c"]) await put(`/registry/${key}`, key);
    const body =
      `<Delete><Object><Key>a</Key><ETag>"${md5("a")}"</ETag></Object>` +
      `<Object><Key>b</Key><ETag>${other}</ETag></Object>` +
      "<Object><Key>c</Key><VersionId>v1</VersionId></Object></Delete>";
    const reply = await handle(
      signed({ method: "POST", path: "/registry", query: [["delete", ""]], body }),
    );
    expect(reply.body).toContain("<Deleted><Key>a</Key></Deleted>");
    expect(reply.body).toContain("<Error><Key>b</Key><Code>PreconditionFailed</Code>");
    expect(reply.body).toContain("<Error><Key>c</Key><Code>NotImplemented</Code>");
    expect(await Promise.all(["a", "b", "c"].map((key) => etagOf(`/registry/${key}`)))).toEqual([
      undefined,
      md5("b"),
      md5("c"),
    ]);
  });
});
