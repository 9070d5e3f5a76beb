/** Receives an object of an S3 store and holds it against all that the store says of it. */

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { OlError } from "../common/errors.ts";
import { BUNDLE_MAX_BYTES } from "../common/limits.ts";
import { invalidCode } from "./code-path.ts";
import type { StallGuard } from "./s3-client.ts";
import {
  type Checksum,
  CHECKSUM_HEADERS,
  CHECKSUM_PREFIX,
  checksumIs,
  makeChecksum,
} from "./store/checksum.ts";

/** SHA-256 of the bundle in hex, sent with each upload: an ETag of parts tells nothing of the data. */
export const DIGEST_HEADER = "x-amz-meta-sha256";

/** Asks a store for the checksums that it keeps. */
export const ASK_CHECKSUMS = { "x-amz-checksum-mode": "ENABLED" } as const;

const MD5_ETAG = /^[0-9a-f]{32}$/;
const SHA256_HEX = /^[0-9a-f]{64}$/;

/** Digests of what arrived. */
export interface Received {
  /** In hex. */
  readonly md5: string;
  /** In hex. */
  readonly sha256: string;
  /** By the name of the header that says what they must be. */
  readonly checksums: ReadonlyMap<string, Checksum>;
}

/**
 * @param response with an object
 * @param guard told of each piece
 * @param file that gets the data
 * @returns digests of the data
 * @throws {Error} where the connection was cut
 * @throws {OlError} bundle_invalid where it is too large
 */
export async function receive(
  response: Response,
  guard: StallGuard,
  file: string,
): Promise<Received> {
  const announced = response.headers.get("content-length");
  const md5 = createHash("md5");
  const sha256 = createHash("sha256");
  const checksums = checksumsOf(response);
  let length = 0;
  const handle = await open(file, "w", 0o600);
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      guard.alive();
      length += chunk.length;
      if (length > BUNDLE_MAX_BYTES) {
        throw invalidCode(`Cannot use the bundle: it has more than ${BUNDLE_MAX_BYTES} bytes`);
      }
      md5.update(chunk);
      sha256.update(chunk);
      for (const checksum of checksums.values()) checksum.update(chunk);
      for (let offset = 0; offset < chunk.length;) {
        offset += (await handle.write(chunk, offset, chunk.length - offset)).bytesWritten;
      }
    }
  } finally {
    await handle.close();
  }
  if (announced !== null && Number(announced) !== length) {
    throw new Error(`got ${length} of ${announced} bytes`);
  }
  return { md5: md5.digest("hex"), sha256: sha256.digest("hex"), checksums };
}

/** Those of the whole object; one with a number of parts is of the parts' checksums. */
function checksumsOf(response: Response): Map<string, Checksum> {
  const checksums = new Map<string, Checksum>();
  if (response.headers.get("x-amz-checksum-type") === "COMPOSITE") return checksums;
  for (const name of CHECKSUM_HEADERS) {
    const value = response.headers.get(name);
    const checksum = makeChecksum(name);
    if (!name.startsWith(CHECKSUM_PREFIX) || value === null || value.includes("-")) continue;
    if (checksum !== null) checksums.set(name, checksum);
  }
  return checksums;
}

/**
 * @param response as for `receive`
 * @param received of `receive`
 * @returns whether the data are those that the store, and whoever uploaded them, speak of
 */
export function isIntact(response: Response, received: Received): boolean {
  const etag = etagOf(response);
  if (MD5_ETAG.test(etag) && !isEncrypted(response) && received.md5 !== etag) return false;
  const digest = response.headers.get(DIGEST_HEADER) ?? "";
  if (SHA256_HEX.test(digest) && received.sha256 !== digest) return false;
  return [...received.checksums].every(([name, checksum]) =>
    checksumIs(checksum.digest(), response.headers.get(name) ?? ""),
  );
}

/**
 * @param etag as a store sends it
 * @returns it without quotes
 */
export function unquoted(etag: string): string {
  return etag.replace(/^W\//, "").replaceAll('"', "");
}

/**
 * @param response of an object
 * @returns its ETag without quotes
 * @throws {OlError} registry_unavailable where there is none
 */
export function etagOf(response: Response): string {
  const etag = unquoted(response.headers.get("etag") ?? "");
  if (etag !== "") return etag;
  throw new OlError("registry_unavailable", "Cannot use the registry: its S3 store sends no ETag", {
    op: "registry.s3",
  });
}

/** With a key of AWS or of the customer the ETag is not the MD5 of the data. */
function isEncrypted(response: Response): boolean {
  return (
    (response.headers.get("x-amz-server-side-encryption") ?? "AES256") !== "AES256" ||
    response.headers.has("x-amz-server-side-encryption-customer-algorithm")
  );
}
