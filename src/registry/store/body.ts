/** Reads a request's body while checking all that its sender said about it: length, hash, checksums. */

import { createHash } from "node:crypto";
import { STORE_OBJECT_MAX_BYTES, STORE_XML_MAX_BYTES } from "../../common/limits.ts";
import type { PayloadCheck } from "./auth.ts";
import { type Checksum, CHECKSUM_HEADERS, checksumIs, makeChecksum } from "./checksum.ts";
import { decodeChunked, type Trailers } from "./chunked.ts";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";
import { sameSecret } from "./sigv4.ts";

/**
 * Its last step throws where anything does not fit, so nothing may be kept before it has ended.
 *
 * @param request with its body
 * @param check of `authenticate`
 * @param checksumNames headers and trailers that speak of the body
 * @yields {Uint8Array} the data that was meant, without the wire's chunks
 * @throws {S3Error} IncompleteBody, EntityTooLarge, XAmzContentSHA256Mismatch, BadDigest, …
 */
export async function* checkedBody(
  request: S3Request,
  check: PayloadCheck,
  checksumNames: readonly string[] = CHECKSUM_HEADERS,
): AsyncGenerator<Uint8Array> {
  const announced = announcedLength(request, check);
  const trailers: Trailers = new Map();
  const data =
    check.kind === "chunked" ? decodeChunked(request.body, check, trailers) : request.body;
  const sha256 = check.kind === "sha256" ? createHash("sha256") : null;
  const checksums = expectedChecksums(request, checksumNames);
  let length = 0;
  for await (const chunk of data) {
    length += chunk.length;
    if (length > announced)
      throw new S3Error("InvalidRequest", "The body is longer than announced");
    sha256?.update(chunk);
    for (const { checksum } of checksums) checksum.update(chunk);
    yield chunk;
  }
  if (length < announced) throw new S3Error("IncompleteBody", "The body is shorter than announced");
  if (check.kind === "sha256" && sha256 !== null && !sameSecret(check.hex, sha256.digest("hex"))) {
    throw new S3Error("XAmzContentSHA256Mismatch", "The body is not the one that was signed");
  }
  for (const { name, checksum, value } of checksums) {
    const claimed = value ?? trailers.get(name);
    if (claimed === undefined) {
      throw new S3Error("InvalidRequest", `The trailer ${name} was announced and is missing`);
    }
    if (!checksumIs(checksum.digest(), claimed)) {
      throw new S3Error("BadDigest", `The body does not have the checksum of ${name}`);
    }
  }
}

function announcedLength(request: S3Request, check: PayloadCheck): number {
  const header = check.kind === "chunked" ? "x-amz-decoded-content-length" : "content-length";
  const text = request.headers.get(header);
  if (text === undefined) {
    throw new S3Error("MissingContentLength", `The header ${header} is missing`);
  }
  if (!/^\d{1,15}$/.test(text)) throw new S3Error("InvalidArgument", `${header} is not a length`);
  const length = Number(text);
  if (length > STORE_OBJECT_MAX_BYTES) {
    throw new S3Error("EntityTooLarge", `Objects have at most ${STORE_OBJECT_MAX_BYTES} bytes`);
  }
  return length;
}

interface ExpectedChecksum {
  readonly name: string;
  readonly checksum: Checksum;
  /** Undefined where it comes as a trailer. */
  readonly value: string | undefined;
}

function expectedChecksums(request: S3Request, names: readonly string[]): ExpectedChecksum[] {
  const inTrailer = new Set(
    (request.headers.get("x-amz-trailer") ?? "")
      .toLowerCase()
      .split(",")
      .map((name) => name.trim()),
  );
  const expected: ExpectedChecksum[] = [];
  for (const name of names) {
    const value = request.headers.get(name);
    if (value === undefined && !inTrailer.has(name)) continue;
    const checksum = makeChecksum(name);
    if (checksum !== null) expected.push({ name, checksum, value });
  }
  return expected;
}

/**
 * @param request with an XML body
 * @param check of `authenticate`
 * @param checksumNames headers that speak of the document, and not of an object
 * @returns the document's root as Bun's parser gives it
 * @throws {S3Error} MalformedXML, MaxMessageLengthExceeded and those of `checkedBody`
 */
export async function xmlBody(
  request: S3Request,
  check: PayloadCheck,
  checksumNames: readonly string[] = CHECKSUM_HEADERS,
): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of checkedBody(request, check, checksumNames)) {
    length += chunk.length;
    if (length > STORE_XML_MAX_BYTES) {
      throw new S3Error("MaxMessageLengthExceeded", "The document is too long");
    }
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  // Entities of one's own are how XML becomes a bomb; no S3 client sends any.
  if (/<!DOCTYPE/i.test(text)) throw new S3Error("MalformedXML", "DOCTYPE is not allowed");
  try {
    const document: Record<string, unknown> = Bun.XML.parse(text);
    return Object.values(document)[0];
  } catch {
    throw new S3Error("MalformedXML", "The document is not well-formed");
  }
}

/**
 * @param parent element as Bun's parser gives it
 * @param name of children
 * @returns the children of that name, none, one or many
 */
export function xmlChildren(parent: unknown, name: string): unknown[] {
  if (typeof parent !== "object" || parent === null) return [];
  const value = (parent as Record<string, unknown>)[name];
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/**
 * @param parent element as Bun's parser gives it
 * @param name of a child that holds text
 * @returns its text, or undefined
 */
export function xmlChildText(parent: unknown, name: string): string | undefined {
  const [value] = xmlChildren(parent, name);
  return typeof value === "string" ? value : undefined;
}
