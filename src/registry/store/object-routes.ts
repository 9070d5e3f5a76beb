/** Operations on one object: put, copy, get, head, delete. */

import { closeSync, read } from "node:fs";
import { promisify } from "node:util";
import { STORE_METADATA_MAX_CHARS } from "../../common/limits.ts";
import type { PayloadCheck } from "./auth.ts";
import { checkedBody } from "./body.ts";
import { isNotModified, parseRange, putPrecondition, requireCopySource } from "./conditions.ts";
import type { ObjectMeta, StagedFile } from "./object-file.ts";
import type { ObjectStore } from "./object-store.ts";
import { type Reply, xmlReply } from "./reply.ts";
import { queryValue, requireBucketName, requireKey, type S3Request } from "./request.ts";
import { S3Error, xmlDocument } from "./s3-error.ts";

/** Headers that are kept with an object beside `x-amz-meta-*`. */
const KEPT = [
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-type",
  "expires",
] as const;
const COPY_CHUNK_BYTES = 256 * 1024;
/** A header holds bytes: an answer with anything beyond Latin-1 in it cannot even be made. */
const HEADER_VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;

/**
 * @param request that creates an object
 * @returns the headers to keep with it
 * @throws {S3Error} MetadataTooLarge
 */
export function objectHeaders(request: S3Request): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of KEPT) {
    const value = request.headers.get(name);
    if (value !== undefined) headers[name] = value;
  }
  // `aws-chunked` describes the request, not the object.
  const encoding = (headers["content-encoding"] ?? "")
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "aws-chunked" && item !== "")
    .join(",");
  delete headers["content-encoding"];
  if (encoding !== "") headers["content-encoding"] = encoding;
  for (const [name, value] of request.headers) {
    if (name.startsWith("x-amz-meta-")) headers[name] = value;
  }
  const chars = Object.entries(headers).reduce((sum, pair) => sum + pair.join("").length, 0);
  if (chars > STORE_METADATA_MAX_CHARS) {
    throw new S3Error(
      "MetadataTooLarge",
      `At most ${STORE_METADATA_MAX_CHARS} characters are kept`,
    );
  }
  return headers;
}

/**
 * Runs a step with a staged file and makes sure that none is left behind.
 * @param store to stage in
 * @param step commits the file, or throws
 * @returns what the step returns
 */
export async function withStaged<T>(
  store: ObjectStore,
  step: (staged: StagedFile) => Promise<T>,
): Promise<T> {
  const staged = await store.stage();
  try {
    return await step(staged);
  } finally {
    await staged.discard();
  }
}

/**
 * @param store to put into
 * @param request with the data
 * @param check of `authenticate`
 * @param nowMs milliseconds since 1970
 * @returns the answer
 * @throws {S3Error} those of `checkedBody`, NoSuchBucket, PreconditionFailed
 */
export async function putObject(
  store: ObjectStore,
  request: S3Request,
  check: PayloadCheck,
  nowMs: number,
): Promise<Reply> {
  const { bucket, key } = request;
  const headers = objectHeaders(request);
  const precondition = putPrecondition(request);
  precondition(store.get(bucket, key));
  const meta = await withStaged(store, async (staged) => {
    for await (const chunk of checkedBody(request, check)) await staged.write(chunk);
    const etag = staged.md5Hex();
    return store.commit(staged, { bucket, key, etag, headers, modifiedMs: nowMs, precondition });
  });
  return { status: 200, headers: { etag: `"${meta.etag}"` } };
}

/**
 * @param store to copy in
 * @param request with `x-amz-copy-source`
 * @param nowMs milliseconds since 1970
 * @returns the answer
 * @throws {S3Error} NoSuchBucket, NoSuchKey, InvalidArgument, PreconditionFailed
 */
export async function copyObject(
  store: ObjectStore,
  request: S3Request,
  nowMs: number,
): Promise<Reply> {
  const source = copySource(request);
  store.requireBucket(request.bucket);
  const replace = replacesMetadata(request);
  const precondition = putPrecondition(request);
  precondition(store.get(request.bucket, request.key));
  const { meta: from, fd } = store.open(source.bucket, source.key);
  let meta: ObjectMeta;
  try {
    requireCopySource(request, from);
    meta = await withStaged(store, async (staged) => {
      await copyData(fd, from.size, staged);
      return store.commit(staged, {
        bucket: request.bucket,
        key: request.key,
        etag: staged.md5Hex(),
        headers: replace ? objectHeaders(request) : from.headers,
        modifiedMs: nowMs,
        precondition,
      });
    });
  } finally {
    closeSync(fd);
  }
  return xmlReply(
    xmlDocument("CopyObjectResult", {
      LastModified: new Date(meta.modifiedMs).toISOString(),
      ETag: `"${meta.etag}"`,
    }),
  );
}

function replacesMetadata(request: S3Request): boolean {
  const directive = request.headers.get("x-amz-metadata-directive")?.toUpperCase() ?? "COPY";
  if (directive === "COPY" || directive === "REPLACE") return directive === "REPLACE";
  throw new S3Error("InvalidArgument", "The metadata of a copy is copied or replaced");
}

const readAsync = promisify(read);

async function copyData(fd: number, size: number, staged: StagedFile): Promise<void> {
  const buffer = new Uint8Array(COPY_CHUNK_BYTES);
  for (let position = 0; position < size;) {
    const wanted = Math.min(buffer.length, size - position);
    const { bytesRead } = await readAsync(fd, buffer, 0, wanted, position);
    if (bytesRead === 0) throw new S3Error("InternalError", "The object is shorter than it was");
    await staged.write(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

function invalidSource(): S3Error {
  return new S3Error("InvalidArgument", "The source of the copy is not valid");
}

function copySource(request: S3Request): { readonly bucket: string; readonly key: string } {
  const header = request.headers.get("x-amz-copy-source") ?? "";
  if (header.includes("?")) throw new S3Error("NotImplemented", "There are no versions");
  let path: string;
  try {
    path = decodeURIComponent(header).replace(/^\//, "");
  } catch {
    throw invalidSource();
  }
  const slash = path.indexOf("/");
  if (slash < 1 || slash === path.length - 1) throw invalidSource();
  const source = { bucket: path.slice(0, slash), key: path.slice(slash + 1) };
  requireBucketName(source.bucket);
  requireKey(source.key);
  return source;
}

/** Overrides that a signed GET may ask for. */
const OVERRIDES: readonly (readonly [string, string])[] = [
  ["response-cache-control", "cache-control"],
  ["response-content-disposition", "content-disposition"],
  ["response-content-encoding", "content-encoding"],
  ["response-content-language", "content-language"],
  ["response-content-type", "content-type"],
  ["response-expires", "expires"],
];

/**
 * @param store to read from
 * @param request GET or HEAD
 * @returns the answer, with an open file for GET
 * @throws {S3Error} NoSuchBucket, NoSuchKey, PreconditionFailed, InvalidRange
 */
export function getObject(store: ObjectStore, request: S3Request): Reply {
  const { meta, fd } = store.open(request.bucket, request.key);
  let keepOpen = false;
  try {
    const headers = replyHeaders(request, meta);
    if (isNotModified(request, meta)) return { status: 304, headers };
    const range = parseRange(request.headers.get("range"), meta.size);
    const { start, length } = range ?? { start: 0, length: meta.size };
    headers["content-length"] = String(length);
    if (range !== null) {
      headers["content-range"] = `bytes ${start}-${start + length - 1}/${meta.size}`;
    }
    const status = range === null ? 200 : 206;
    if (request.method === "HEAD") return { status, headers };
    keepOpen = true;
    return { status, headers, file: { fd, range: { start, length } } };
  } finally {
    if (!keepOpen) closeSync(fd);
  }
}

function replyHeaders(request: S3Request, meta: ObjectMeta): Record<string, string> {
  const headers: Record<string, string> = {
    "content-type": "binary/octet-stream",
    ...meta.headers,
    etag: `"${meta.etag}"`,
    "last-modified": new Date(meta.modifiedMs).toUTCString(),
    "accept-ranges": "bytes",
  };
  for (const [parameter, header] of OVERRIDES) {
    const value = queryValue(request, parameter);
    if (value === undefined) continue;
    if (!HEADER_VALUE.test(value))
      throw new S3Error("InvalidArgument", `${parameter} is not valid`);
    headers[header] = value;
  }
  return headers;
}
