/** One HTTP request in the words of S3: bucket, key, query, without any decision about trust. */

import { STORE_KEY_MAX_BYTES } from "../../common/limits.ts";
import { S3Error } from "./s3-error.ts";
import { awsEncodePath } from "./sigv4.ts";

/** A request as it came over the wire. */
export interface WireRequest {
  readonly method: string;
  /** Request target of the request line, untouched. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: AsyncIterable<Uint8Array>;
}

/** A request taken apart. */
export interface S3Request {
  readonly method: string;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  /** Path as it came. */
  readonly rawPath: string;
  /** Path in the encoding that signatures use. */
  readonly canonicalPath: string;
  /** Empty for the service itself. */
  readonly bucket: string;
  /** Empty for the bucket itself. */
  readonly key: string;
  /** Decoded, in the order in which it came. */
  readonly query: readonly (readonly [string, string])[];
  readonly body: AsyncIterable<Uint8Array>;
}

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Error("InvalidURI", "The address is not percent-encoded UTF-8");
  }
}

/**
 * @param wire as the HTTP server gives it
 * @returns its parts
 * @throws {S3Error} InvalidURI, InvalidBucketName, KeyTooLongError
 */
export function parseRequest(wire: WireRequest): S3Request {
  const question = wire.target.indexOf("?");
  const rawPath = question === -1 ? wire.target : wire.target.slice(0, question);
  if (!rawPath.startsWith("/")) throw new S3Error("InvalidURI", "The address has no path");
  const path = decode(rawPath);
  const [bucket, key] = splitPath(path);
  const headers = new Map<string, string>();
  for (const [name, value] of Object.entries(wire.headers)) {
    if (value !== undefined) headers.set(name, typeof value === "string" ? value : value.join(","));
  }
  return {
    method: wire.method,
    headers,
    rawPath,
    canonicalPath: awsEncodePath(path),
    bucket,
    key,
    query: parseQuery(question === -1 ? "" : wire.target.slice(question + 1)),
    body: wire.body,
  };
}

function splitPath(path: string): [string, string] {
  const slash = path.indexOf("/", 1);
  const bucket = slash === -1 ? path.slice(1) : path.slice(1, slash);
  const key = slash === -1 ? "" : path.slice(slash + 1);
  requireKey(key);
  if (bucket !== "") requireBucketName(bucket);
  return [bucket, key];
}

/**
 * @param key name of an object, may be empty
 * @throws {S3Error} KeyTooLongError, InvalidURI
 */
export function requireKey(key: string): void {
  if (Buffer.byteLength(key) > STORE_KEY_MAX_BYTES) {
    throw new S3Error("KeyTooLongError", `Keys have at most ${STORE_KEY_MAX_BYTES} bytes`);
  }
  if (!key.isWellFormed()) throw new S3Error("InvalidURI", "The key is not valid Unicode");
}

/**
 * @param name of a bucket
 * @throws {S3Error} InvalidBucketName
 */
export function requireBucketName(name: string): void {
  if (BUCKET.test(name) && !name.includes("..")) return;
  throw new S3Error("InvalidBucketName", "Bucket names are 3 to 63 of a-z, 0-9, '.' and '-'");
}

function parseQuery(raw: string): [string, string][] {
  return raw
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => {
      const equals = pair.indexOf("=");
      const name = equals === -1 ? pair : pair.slice(0, equals);
      const value = equals === -1 ? "" : pair.slice(equals + 1);
      return [decode(name.replaceAll("+", " ")), decode(value.replaceAll("+", " "))];
    });
}

/**
 * @param request taken apart
 * @param name of a query parameter
 * @returns its first value, or undefined
 */
export function queryValue(request: S3Request, name: string): string | undefined {
  return request.query.find(([key]) => key === name)?.[1];
}
