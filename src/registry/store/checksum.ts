/** The checksums that S3 clients send beside a body, computed piece by piece. */

import { createHash, timingSafeEqual } from "node:crypto";

/** Takes bytes, gives a digest. */
export interface Checksum {
  update(chunk: Uint8Array): void;
  /** @returns the digest, big-endian for the cyclic ones */
  digest(): Uint8Array;
}

class Crc32 implements Checksum {
  #value = 0;
  update(chunk: Uint8Array): void {
    this.#value = Bun.hash.crc32(chunk, this.#value);
  }
  digest(): Uint8Array {
    const out = Buffer.alloc(4);
    out.writeUInt32BE(this.#value >>> 0);
    return out;
  }
}

/** Castagnoli, reflected. */
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

class Crc32c implements Checksum {
  #value = 0xffffffff;
  update(chunk: Uint8Array): void {
    let value = this.#value;
    for (const byte of chunk)
      value = (CRC32C_TABLE[(value ^ byte) & 0xff] as number) ^ (value >>> 8);
    this.#value = value;
  }
  digest(): Uint8Array {
    const out = Buffer.alloc(4);
    out.writeUInt32BE((this.#value ^ 0xffffffff) >>> 0);
    return out;
  }
}

/** CRC-64/NVME, reflected; as two halves, since BigInt would be 50 times slower. */
const CRC64_HIGH = new Uint32Array(256);
const CRC64_LOW = new Uint32Array(256);
for (let index = 0; index < 256; index++) {
  let high = 0;
  let low = index;
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1;
    low = ((low >>> 1) | (high << 31)) >>> 0;
    high >>>= 1;
    if (carry === 1) {
      high = (high ^ 0x9a6c9329) >>> 0;
      low = (low ^ 0xac4bc9b5) >>> 0;
    }
  }
  CRC64_HIGH[index] = high;
  CRC64_LOW[index] = low;
}

class Crc64Nvme implements Checksum {
  #high = 0xffffffff;
  #low = 0xffffffff;
  update(chunk: Uint8Array): void {
    let high = this.#high;
    let low = this.#low;
    for (const byte of chunk) {
      const index = (low ^ byte) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ (CRC64_LOW[index] as number);
      high = (high >>> 8) ^ (CRC64_HIGH[index] as number);
    }
    this.#high = high;
    this.#low = low;
  }
  digest(): Uint8Array {
    const out = Buffer.alloc(8);
    out.writeUInt32BE((this.#high ^ 0xffffffff) >>> 0, 0);
    out.writeUInt32BE((this.#low ^ 0xffffffff) >>> 0, 4);
    return out;
  }
}

class Digest implements Checksum {
  readonly #hash: ReturnType<typeof createHash>;
  constructor(algorithm: string) {
    this.#hash = createHash(algorithm);
  }
  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
  }
  digest(): Uint8Array {
    return this.#hash.digest();
  }
}

/** By the name of the header that carries it. */
const MAKERS: ReadonlyMap<string, () => Checksum> = new Map<string, () => Checksum>([
  ["x-amz-checksum-crc32", () => new Crc32()],
  ["x-amz-checksum-crc32c", () => new Crc32c()],
  ["x-amz-checksum-crc64nvme", () => new Crc64Nvme()],
  ["x-amz-checksum-sha1", () => new Digest("sha1")],
  ["x-amz-checksum-sha256", () => new Digest("sha256")],
  ["content-md5", () => new Digest("md5")],
]);

/** How names of headers begin that carry one of S3's own checksums. */
export const CHECKSUM_PREFIX = "x-amz-checksum-";

/** Names of the headers and trailers that carry a checksum of the body. */
export const CHECKSUM_HEADERS: readonly string[] = [...MAKERS.keys()];

/**
 * @param header name of a checksum header, lower case
 * @returns what computes it, or null for a name that is not one
 */
export function makeChecksum(header: string): Checksum | null {
  return MAKERS.get(header)?.() ?? null;
}

/**
 * @param actual digest of what arrived
 * @param base64 what the other side says
 * @returns whether they agree
 */
export function checksumIs(actual: Uint8Array, base64: string): boolean {
  const claimed = Buffer.from(base64, "base64");
  return claimed.length === actual.length && timingSafeEqual(claimed, actual);
}
