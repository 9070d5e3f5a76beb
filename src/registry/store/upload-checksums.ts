/**
 * Checksums that the end of a multipart upload names: of the whole object, of the checksums of its
 * parts (`<base64>-<parts>`), and once more of each part. They are computed while parts are joined.
 */

import { type Checksum, checksumIs, CHECKSUM_PREFIX, makeChecksum } from "./checksum.ts";
import { S3Error } from "./s3-error.ts";

/** Digests in base64 by the name of the header that carries such a one. */
export type Claims = ReadonlyMap<string, string>;

const COMPOSITE = /^(.*)-(\d{1,5})$/;

interface Expected {
  readonly name: string;
  readonly value: string;
  readonly checksum: Checksum;
  /** Number of parts where the digest is one of digests; null where it is of the data. */
  readonly parts: number | null;
}

function make(name: string): Checksum {
  const checksum = makeChecksum(name);
  if (checksum === null) throw new S3Error("InvalidArgument", `There is no checksum ${name}`);
  return checksum;
}

/** What one upload must have. */
export class UploadChecksums {
  readonly #expected: readonly Expected[];
  #ofPart = new Map<string, Checksum>();
  #parts = 0;

  /**
   * @param claims of the whole
   * @param type `FULL_OBJECT`, `COMPOSITE`, or undefined where the digest tells
   */
  constructor(claims: Claims, type?: string) {
    this.#expected = [...claims].map(([name, text]) => {
      const [, value, parts] = COMPOSITE.exec(text) ?? [];
      const isComposite = type === "COMPOSITE" || (type === undefined && parts !== undefined);
      return {
        name,
        value: isComposite ? (value ?? "") : text,
        checksum: make(name),
        parts: isComposite ? Number(parts) : null,
      };
    });
  }

  /** @param claims of the part that comes next */
  beginPart(claims: Claims): void {
    const composites = this.#expected.filter(({ parts }) => parts !== null);
    const names = new Set([...claims.keys(), ...composites.map(({ name }) => name)]);
    this.#ofPart = new Map([...names].map((name) => [name, make(name)]));
  }

  /** @param chunk next bytes of the part */
  update(chunk: Uint8Array): void {
    for (const checksum of this.#ofPart.values()) checksum.update(chunk);
    for (const { parts, checksum } of this.#expected) if (parts === null) checksum.update(chunk);
  }

  /**
   * @param claims of the part, as for `beginPart`
   * @throws {S3Error} InvalidPart
   */
  endPart(claims: Claims): void {
    this.#parts += 1;
    const digests = new Map([...this.#ofPart].map(([name, sum]) => [name, sum.digest()]));
    for (const [name, base64] of claims) {
      if (checksumIs(digests.get(name) ?? new Uint8Array(), base64)) continue;
      throw new S3Error("InvalidPart", `Part ${this.#parts} does not have its ${name}`);
    }
    for (const { name, parts, checksum } of this.#expected) {
      if (parts !== null) checksum.update(digests.get(name) ?? new Uint8Array());
    }
  }

  /** @throws {S3Error} BadDigest */
  end(): void {
    for (const { name, value, parts, checksum } of this.#expected) {
      const isRight = parts === null || parts === this.#parts;
      if (isRight && checksumIs(checksum.digest(), value)) continue;
      throw new S3Error("BadDigest", `The object does not have the checksum of ${name}`);
    }
  }
}

/**
 * @param texts gives the text of an element of the part, such as `ChecksumCRC32`
 * @returns what the part is said to have
 */
export function claimsOfPart(texts: (element: string) => string | undefined): Claims {
  const claims = new Map<string, string>();
  for (const algorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
    const value = texts(`Checksum${algorithm}`);
    if (value !== undefined) claims.set(CHECKSUM_PREFIX + algorithm.toLowerCase(), value);
  }
  return claims;
}
