/**
 * `aws-chunked` bodies: data in chunks that are signed one by one, checksums at the end. The data is
 * passed on before its signature is known to be right, so what reads it must not use it before the
 * end was reached without an error.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
 *
 * | part | bytes |
 * | --- | --- |
 * | chunk | hex size, `;chunk-signature=` hex where signed, CR LF, data, CR LF |
 * | last chunk | the same with size 0 and no data |
 * | trailers | `name:value` CR LF each, `x-amz-trailer-signature:` hex where signed |
 * | end | CR LF |
 */

import { createHash } from "node:crypto";
import { STORE_CHUNK_LINE_MAX_BYTES } from "../../common/limits.ts";
import type { PayloadCheck } from "./auth.ts";
import { S3Error } from "./s3-error.ts";
import { sameSecret, sha256Hex, signChunk, signTrailer } from "./sigv4.ts";

type Chunked = Extract<PayloadCheck, { kind: "chunked" }>;

/** Trailers of a body by lower-case name, complete once the body has ended. */
export type Trailers = Map<string, string>;

const HEADER = /^([0-9a-fA-F]{1,15})(?:;chunk-signature=([0-9a-f]{64}))?$/;
const TRAILERS_MAX = 16;

function malformed(why: string): S3Error {
  return new S3Error("InvalidRequest", `The chunked body is malformed: ${why}`);
}

/** Reads lines and runs of bytes from a stream, holding no more than one piece of it. */
class Reader {
  readonly #source: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async #fill(): Promise<boolean> {
    while (this.#piece.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) return false;
      this.#piece = next.value;
    }
    return true;
  }

  /** @returns the next bytes, at most `max`, or null at the end */
  async some(max: number): Promise<Uint8Array | null> {
    if (!(await this.#fill())) return null;
    const taken = this.#piece.subarray(0, max);
    this.#piece = this.#piece.subarray(taken.length);
    return taken;
  }

  /** @returns the next line without CR LF, or null at the end of the stream */
  async line(): Promise<string | null> {
    const bytes: number[] = [];
    for (;;) {
      if (!(await this.#fill())) {
        if (bytes.length > 0) throw new S3Error("IncompleteBody", "The body ends within a line");
        return null;
      }
      const end = this.#piece.indexOf(0x0a);
      const part = end === -1 ? this.#piece : this.#piece.subarray(0, end);
      if (bytes.length + part.length > STORE_CHUNK_LINE_MAX_BYTES)
        throw malformed("a line is too long");
      bytes.push(...part);
      this.#piece = this.#piece.subarray(end === -1 ? this.#piece.length : end + 1);
      if (end === -1) continue;
      if (bytes.pop() !== 0x0d) throw malformed("a line does not end with CR LF");
      return Buffer.from(bytes).toString("latin1");
    }
  }
}

/**
 * @param body as it came over the wire
 * @param check how it is signed
 * @param trailers filled in at the end
 * @yields {Uint8Array} the data
 * @throws {S3Error} SignatureDoesNotMatch, IncompleteBody, InvalidRequest
 */
export async function* decodeChunked(
  body: AsyncIterable<Uint8Array>,
  check: Chunked,
  trailers: Trailers,
): AsyncGenerator<Uint8Array> {
  const reader = new Reader(body);
  let previous = check.chain?.seed ?? "";
  for (;;) {
    const line = await reader.line();
    if (line === null) throw new S3Error("IncompleteBody", "The body ends before its last chunk");
    const [, size, signature] = HEADER.exec(line) ?? [];
    if (size === undefined) throw malformed("a chunk has no size");
    if ((signature === undefined) !== (check.chain === null)) {
      throw malformed("a chunk is not signed as announced");
    }
    let left = Number.parseInt(size, 16);
    const last = left === 0;
    const hash = check.chain === null ? null : createHash("sha256");
    while (left > 0) {
      const data = await reader.some(left);
      if (data === null) throw new S3Error("IncompleteBody", "The body ends within a chunk");
      hash?.update(data);
      left -= data.length;
      yield data;
    }
    if (!last && (await reader.line()) !== "") throw malformed("a chunk is longer than its size");
    if (check.chain !== null && hash !== null && signature !== undefined) {
      const { key, scope } = check.chain;
      const expected = signChunk(key, scope, previous, hash.digest("hex"));
      if (!sameSecret(expected, signature)) throw wrongSignature();
      previous = signature;
    }
    if (last) break;
  }
  await readTrailers(reader, check, previous, trailers);
}

function wrongSignature(): S3Error {
  return new S3Error("SignatureDoesNotMatch", "The signature of a chunk does not match its data");
}

async function readTrailers(
  reader: Reader,
  check: Chunked,
  previous: string,
  trailers: Trailers,
): Promise<void> {
  let signature: string | null = null;
  let covered = "";
  for (;;) {
    const line = await reader.line();
    // Some clients leave out the empty line after the last chunk or trailer.
    if (line === null) break;
    if (line === "") {
      if ((await reader.some(1)) !== null) throw malformed("data follows its end");
      break;
    }
    const colon = line.indexOf(":");
    if (!check.trailers || colon < 1) throw malformed("a line follows the last chunk");
    if (trailers.size >= TRAILERS_MAX) throw malformed("it has too many trailers");
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === "x-amz-trailer-signature") {
      signature = value;
      continue;
    }
    if (trailers.has(name)) throw malformed("a trailer is there twice");
    trailers.set(name, value);
    covered += `${name}:${value}\n`;
  }
  if (check.chain === null || !check.trailers) return;
  const { key, scope } = check.chain;
  const expected = signTrailer(key, scope, previous, sha256Hex(covered));
  if (signature === null || !sameSecret(expected, signature)) throw wrongSignature();
}
