/**
 * The arithmetic of AWS Signature Version 4: canonical request, signing key, signature. What is
 * trusted is decided in `auth.ts`.
 *
 * @see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** SHA-256 of nothing, in hex. */
export const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** The only algorithm there is. */
export const ALGORITHM = "AWS4-HMAC-SHA256";

/** What a signature covers of a request. */
export interface SignedParts {
  readonly method: string;
  /** Path of the URL in its canonical encoding. */
  readonly path: string;
  /** Decoded names and values, without the signature itself. */
  readonly query: readonly (readonly [string, string])[];
  /** Lower-case names of the signed headers, sorted. */
  readonly signedHeaders: readonly string[];
  readonly header: (name: string) => string | null;
  /** Hash of the body, or the word that stands for it. */
  readonly payloadHash: string;
}

/** Where and when a signature is valid. */
export interface Scope {
  /** `YYYYMMDD'T'HHMMSS'Z'`. */
  readonly time: string;
  readonly region: string;
  readonly service: string;
}

/**
 * @param text any text
 * @returns it percent-encoded as AWS wants it: all but letters, digits and `-._~`
 */
export function awsEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/**
 * @param path decoded path
 * @returns it encoded, slashes kept
 */
export function awsEncodePath(path: string): string {
  return path.split("/").map(awsEncode).join("/");
}

/**
 * @param data text or bytes
 * @returns SHA-256 in hex
 */
export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

function hmac(key: string | Uint8Array, data: string): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

/**
 * @param scope of the signature
 * @returns `date/region/service/aws4_request`
 */
export function scopeText(scope: Scope): string {
  return `${scope.time.slice(0, 8)}/${scope.region}/${scope.service}/aws4_request`;
}

/**
 * @param secretKey the account's secret
 * @param scope day, region and service that the key is for
 * @returns the key that signs
 */
export function signingKey(secretKey: string, scope: Scope): Buffer {
  const day = hmac(`AWS4${secretKey}`, scope.time.slice(0, 8));
  return hmac(hmac(hmac(day, scope.region), scope.service), "aws4_request");
}

/**
 * @param parts what the signature covers
 * @returns the canonical request
 */
function canonicalRequest(parts: SignedParts): string {
  const query = parts.query
    .map(([name, value]) => [awsEncode(name), awsEncode(value)] as const)
    .toSorted(([nameA, a], [nameB, b]) => compare(nameA, nameB) || compare(a, b))
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
  const headers = parts.signedHeaders
    .map((name) => `${name}:${(parts.header(name) ?? "").trim().replace(/ +/g, " ")}\n`)
    .join("");
  return [
    parts.method,
    parts.path,
    query,
    headers,
    parts.signedHeaders.join(";"),
    parts.payloadHash,
  ].join("\n");
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * @param key of `signingKey`
 * @param scope the same scope
 * @param parts what the signature covers
 * @returns the signature in hex
 */
export function signRequest(key: Uint8Array, scope: Scope, parts: SignedParts): string {
  const hash = sha256Hex(canonicalRequest(parts));
  return hmac(key, `${ALGORITHM}\n${scope.time}\n${scopeText(scope)}\n${hash}`).toString("hex");
}

/**
 * @param key of `signingKey`
 * @param scope the same scope
 * @param previous signature of the chunk before, or of the request
 * @param dataHash SHA-256 of the chunk's data in hex
 * @returns the signature of one chunk of an `aws-chunked` body
 */
export function signChunk(
  key: Uint8Array,
  scope: Scope,
  previous: string,
  dataHash: string,
): string {
  const head = `${ALGORITHM}-PAYLOAD\n${scope.time}\n${scopeText(scope)}`;
  return hmac(key, `${head}\n${previous}\n${EMPTY_SHA256}\n${dataHash}`).toString("hex");
}

/**
 * @param key of `signingKey`
 * @param scope the same scope
 * @param previous signature of the last chunk
 * @param trailerHash SHA-256 of the trailers as `name:value\n` lines, in hex
 * @returns the signature of the trailers
 */
export function signTrailer(
  key: Uint8Array,
  scope: Scope,
  previous: string,
  trailerHash: string,
): string {
  const head = `${ALGORITHM}-TRAILER\n${scope.time}\n${scopeText(scope)}`;
  return hmac(key, `${head}\n${previous}\n${trailerHash}`).toString("hex");
}

/**
 * Compares in a time that tells nothing about where the two differ.
 * @param expected what it must be
 * @param given what came
 * @returns whether they are equal
 */
export function sameSecret(expected: string, given: string): boolean {
  const a = createHash("sha256").update(expected).digest();
  const b = createHash("sha256").update(given).digest();
  return timingSafeEqual(a, b);
}
