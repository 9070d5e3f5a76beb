/** Requests to the handler store: unsigned, changed after they were signed, and well signed nonsense. */

import { S3Client } from "bun";
import * as fc from "fast-check";

import { serveStore, type StoreServer } from "../../src/registry/store/server.ts";
import {
  ALGORITHM,
  awsEncode,
  awsEncodePath,
  type Scope,
  scopeText,
  sha256Hex,
  signingKey,
  signRequest,
} from "../../src/registry/store/sigv4.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { demand, exchange, httpPath, method, statusOf } from "./exchange.ts";
import { type Target, target } from "./target.ts";

const KEYS = { accessKey: "FUZZACCESS", secretKey: "fuzz/secret+key" } as const;

/** No request without a signature of ours is served; none breaks the store. */
function storeRequests(store: StoreServer): Target {
  const property = fc.asyncProperty(
    method,
    httpPath,
    fc.option(fc.string({ maxLength: 80 })),
    fc.option(fc.constantFrom("20300101T000000Z", "now", "")),
    async (verb, path, authorization, date) => {
      const lines = [`${verb} ${path} HTTP/1.1`, `host: 127.0.0.1:${store.port}`];
      const scope = `${KEYS.accessKey}/20300101/us-east-1/s3/aws4_request`;
      if (authorization !== null) {
        lines.push(`authorization: AWS4-HMAC-SHA256 Credential=${scope},${authorization}`);
      }
      if (date !== null) lines.push(`x-amz-date: ${date}`);
      const request = Buffer.from(`${lines.join("\r\n")}\r\nconnection: close\r\n\r\n`, "latin1");
      const status = statusOf(await exchange(store.port, request));
      demand(status >= 300 && status < 500, `${verb} ${path} got ${status}`);
    },
  );
  return target("store requests", 40, property);
}

/** A signed URL of which one character is another is refused. */
function signatures(client: S3Client): Target {
  const property = fc.asyncProperty(
    fc.nat(),
    fc.constantFrom(...Array.from("abcdefXYZ0189-_.~")),
    async (at, character) => {
      const url = client.presign("signed/object.txt", { expiresIn: 600, method: "GET" });
      const good = await fetch(url);
      demand(good.status === 200 && (await good.text()) === "content", `signed: ${good.status}`);
      const start = url.indexOf("/", 8) + 1;
      const index = start + (at % (url.length - start));
      // The two digits of an escape may be written in two ways; separators make another URL.
      if (/[%?&=/]/.test(url.slice(index - 2, index + 1)) || url[index] === character) return;
      const changed = url.slice(0, index) + character + url.slice(index + 1);
      const { status } = await fetch(changed);
      demand(status >= 400 && status < 500, `${status} for ${changed.slice(start)}`);
    },
  );
  return target("signatures", 40, property);
}

/** A request that means what it says: its signature is right. */
interface SignedDraft {
  readonly verb: string;
  readonly path: string;
  readonly query: readonly (readonly [string, string])[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** The bytes of a request, signed now. */
function signedBytes(draft: SignedDraft, port: number): Buffer {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const scope: Scope = { time, region: "us-east-1", service: "s3" };
  const payloadHash = sha256Hex(draft.body);
  const headers: Record<string, string> = {
    ...draft.headers,
    host: `127.0.0.1:${port}`,
    "x-amz-date": time,
    "x-amz-content-sha256": payloadHash,
    "content-length": String(draft.body.length),
    connection: "close",
  };
  const signedHeaders = Object.keys(headers)
    .filter((name) => name === "host" || name.startsWith("x-amz-"))
    .toSorted();
  const signature = signRequest(signingKey(KEYS.secretKey, scope), scope, {
    method: draft.verb,
    path: awsEncodePath(draft.path),
    query: draft.query,
    signedHeaders,
    header: (name) => headers[name] ?? null,
    payloadHash,
  });
  headers["authorization"] =
    `${ALGORITHM} Credential=${KEYS.accessKey}/${scopeText(scope)},` +
    `SignedHeaders=${signedHeaders.join(";")},Signature=${signature}`;
  const search = draft.query.map((pair) => pair.map(awsEncode).join("=")).join("&");
  const line = `${draft.verb} ${awsEncodePath(draft.path)}${search && `?${search}`} HTTP/1.1`;
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const head = `${[line, ...lines].join("\r\n")}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), draft.body]);
}

/** What may stand in a header: printable, no blanks at its ends. */
const headerText = fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/);
const number = fc.oneof(fc.integer({ min: -2, max: 12 }).map(String), fc.constant("1e9"));
const anyText = fc.oneof(
  fc.string({ maxLength: 12 }),
  number,
  fc.constantFrom("/", "a/", "é", "😀"),
);
const key = fc.oneof(
  fc.constantFrom("k", "a/1", "a/2", "a//b", "../up", "ü ö", ""),
  fc.string({ maxLength: 20, unit: "grapheme" }),
);
const bucketPath = fc.constantFrom("/registry/", "/registry", "/other-bucket/", "/UPPER/", "/");
const range = fc
  .tuple(fc.option(fc.nat(12)), fc.option(fc.nat(12)))
  .map(([from, to]) => `bytes=${from ?? ""}-${to ?? ""}`);

/** Parameters of the operations, and of such as there are not. */
const parameter = fc.oneof(
  fc.tuple(
    fc.constantFrom("prefix", "delimiter", "marker", "start-after", "continuation-token"),
    anyText,
  ),
  fc.tuple(fc.constantFrom("max-keys", "partNumber", "max-parts", "part-number-marker"), number),
  fc.tuple(fc.constantFrom("uploads", "delete", "location", "versioning", "acl"), fc.constant("")),
  fc.tuple(fc.constantFrom("uploadId", "versionId", "response-content-type"), anyText),
  fc.tuple(fc.constantFrom("list-type", "encoding-type"), fc.constantFrom("1", "2", "url", "x")),
  fc.tuple(fc.constantFrom("x-amz-copy-source", "x-amz-meta-a", "X-Amz-Acl"), headerText),
);

const signedHeader = fc.oneof(
  fc.tuple(fc.constant("range"), fc.oneof(range, headerText)),
  fc.tuple(fc.constantFrom("if-match", "if-none-match", "if-modified-since"), headerText),
  fc.tuple(
    fc.constantFrom("x-amz-meta-a", "x-amz-checksum-crc32", "x-amz-checksum-type", "content-md5"),
    headerText,
  ),
  fc.tuple(
    fc.constantFrom("x-amz-copy-source", "x-amz-metadata-directive", "x-amz-trailer"),
    fc.oneof(headerText, fc.constantFrom("/registry/k", "registry/a%2F1", "REPLACE")),
  ),
);

/** Documents that are nearly right, and some that are none. */
const xmlName = fc.constantFrom(
  "Delete",
  "Object",
  "Key",
  "ETag",
  "VersionId",
  "Quiet",
  "Part",
  "PartNumber",
  "CompleteMultipartUpload",
  "ChecksumCRC32",
  "x",
);
const { document } = fc.letrec<{ document: string }>((tie) => ({
  document: fc.oneof(
    { maxDepth: 4 },
    fc.oneof(fc.constantFrom("k", "1", "&lt;", "&x;", "true", "<![CDATA[k]]>"), fc.string()),
    fc
      .tuple(xmlName, fc.array(tie("document"), { maxLength: 3 }))
      .map(([name, inside]) => `<${name}>${inside.join("")}</${name}>`),
  ),
}));
const body = fc.oneof(
  fc.constant(new Uint8Array()),
  fc.uint8Array({ maxLength: 200 }),
  document.map((text) => new TextEncoder().encode(text)),
);

const UPLOAD: SignedDraft = {
  verb: "POST",
  path: "/registry/k",
  query: [["uploads", ""]],
  headers: {},
  body: new Uint8Array(),
};

async function beginUpload({ port }: StoreServer): Promise<string> {
  const answer = await exchange(port, signedBytes(UPLOAD, port));
  const id = /<UploadId>(\w+)/.exec(answer)?.[1];
  if (id === undefined) throw new Error(`no upload was begun: ${answer.slice(0, 300)}`);
  return id;
}

async function abortUpload({ port }: StoreServer, id: string): Promise<void> {
  const abort = { ...UPLOAD, verb: "DELETE", query: [["uploadId", id]] as const };
  const status = statusOf(await exchange(port, signedBytes(abort, port)));
  demand(status === 204 || status === 404, `${status} for the end of an upload`);
}

const PAGE = /<IsTruncated>(true|false)<\/IsTruncated>/;

/** Whatever a holder of the keys asks for, the store answers with a status of his making, and lives. */
function signedRequests(store: StoreServer, client: S3Client): Target {
  const property = fc.asyncProperty(
    fc.constantFrom("GET", "GET", "PUT", "POST", "HEAD", "DELETE"),
    bucketPath,
    key,
    fc.uniqueArray(parameter, { maxLength: 3, selector: ([name]) => name }),
    fc.uniqueArray(signedHeader, { maxLength: 3, selector: ([name]) => name }),
    body,
    fc.boolean(),
    async (verb, bucket, name, query, headers, data, inUpload) => {
      const path = bucket.endsWith("/") ? bucket + name : bucket;
      const headersOf = Object.fromEntries(headers);
      let draft: SignedDraft = { verb, path, query, headers: headersOf, body: data };
      const id = inUpload ? await beginUpload(store) : null;
      if (id !== null) {
        const others = query.filter(([it]) => it !== "uploadId");
        draft = { ...draft, path: "/registry/k", query: [...others, ["uploadId", id]] };
      }
      const answer = await exchange(store.port, signedBytes(draft, store.port));
      const status = statusOf(answer);
      const told = `${verb} ${path} ${JSON.stringify(draft.query)} got ${answer.slice(0, 300)}`;
      demand(status >= 200 && (status < 500 || status === 501 || status === 503), told);
      demand(!/SignatureDoesNotMatch|InternalError/.test(answer), told);
      if (status === 200 && answer.includes("<ListBucketResult")) demand(PAGE.test(answer), told);
      // A document that is well-formed, whatever the keys are.
      const xml = /\r\n\r\n(<\?xml[^]*)$/.exec(answer)?.[1];
      if (xml !== undefined) Bun.XML.parse(Buffer.from(xml, "latin1").toString("utf8"));
      if (id !== null) await abortUpload(store, id);
      await client.write("witness", "content");
      demand((await client.file("witness").text()) === "content", `lost after ${told}`);
    },
  );
  return target("signed store requests", 40, property);
}

/** The targets and what they run against. */
export interface StoreTargets {
  readonly targets: readonly Target[];
  close(): Promise<void>;
}

/** Starts a store. */
export async function storeTargets(): Promise<StoreTargets> {
  const temp = tempDir("ol-fuzz-store-");
  const store = await serveStore(
    { dir: temp.join("store"), credentials: KEYS, buckets: ["registry"] },
    { bind: "127.0.0.1", port: 0 },
  );
  const close = async (): Promise<void> => {
    await store.stop();
    temp.remove();
  };
  const client = new S3Client({
    accessKeyId: KEYS.accessKey,
    secretAccessKey: KEYS.secretKey,
    bucket: "registry",
    endpoint: store.url,
  });
  await client.write("signed/object.txt", "content");
  const targets = [storeRequests(store), signatures(client), signedRequests(store, client)];
  return { targets, close };
}
