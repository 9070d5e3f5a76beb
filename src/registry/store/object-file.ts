/**
 * How one object lies on disk: its data, then its metadata, in one file that a single rename puts in
 * place. So data and metadata can never be of two versions, whenever the power goes.
 *
 * | part | bytes |
 * | --- | --- |
 * | data | `size` of the metadata |
 * | metadata | JSON in UTF-8 |
 * | tail | length of the metadata, CRC-32 of the metadata (both uint32 LE), `OLOBJ01\n` |
 */

import { createHash, type Hash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { STORE_METADATA_MAX_CHARS } from "../../common/limits.ts";

/** What the store knows of an object beside its data. */
export interface ObjectMeta {
  readonly key: string;
  readonly size: number;
  /** Without quotes. */
  readonly etag: string;
  readonly modifiedMs: number;
  /** Headers that are given back with it, lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

const MAGIC = "OLOBJ01\n";
const TAIL_BYTES = 16;
const FOOTER_MAX_BYTES = 8 * STORE_METADATA_MAX_CHARS + 16 * 1024;

/** A file in the making; becomes an object by `seal` and a rename, or is discarded. */
export class StagedFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #md5: Hash = createHash("md5");
  #sizeBytes = 0;
  #closed = false;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /**
   * @param path that does not exist yet
   * @returns an empty file
   */
  static async create(path: string): Promise<StagedFile> {
    return new StagedFile(path, await open(path, "wx", 0o600));
  }

  /** Bytes of data so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** @param chunk next bytes of data */
  async write(chunk: Uint8Array): Promise<void> {
    this.#md5.update(chunk);
    this.#sizeBytes += chunk.length;
    await this.#writeAll(chunk);
  }

  async #writeAll(chunk: Uint8Array): Promise<void> {
    for (let offset = 0; offset < chunk.length;) {
      const { bytesWritten } = await this.#handle.write(chunk, offset, chunk.length - offset);
      offset += bytesWritten;
    }
  }

  /** @returns MD5 of the data in hex; nothing can be written after it */
  md5Hex(): string {
    return this.#md5.digest("hex");
  }

  /**
   * Adds the metadata and makes the file durable.
   * @param meta of the object; `size` must be `sizeBytes`
   */
  async seal(meta: ObjectMeta): Promise<void> {
    const json = Buffer.from(JSON.stringify(meta));
    const tail = Buffer.alloc(TAIL_BYTES);
    tail.writeUInt32LE(json.length, 0);
    tail.writeUInt32LE(Bun.hash.crc32(json), 4);
    tail.write(MAGIC, 8, "latin1");
    await this.#writeAll(Buffer.concat([json, tail]));
    await this.close();
  }

  /** Makes what was written durable and closes the file. */
  async close(): Promise<void> {
    await this.#handle.sync();
    this.#closed = true;
    await this.#handle.close();
  }

  /** Closes and removes it; harmless once it was renamed. */
  async discard(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      await this.#handle.close();
    }
    rmSync(this.path, { force: true });
  }
}

/**
 * @param path of a sealed file
 * @returns its metadata, or null where the file is not whole
 */
export function readObjectMeta(path: string): ObjectMeta | null {
  const fd = openSync(path, "r");
  try {
    const fileBytes = fstatSync(fd).size;
    const tail = Buffer.alloc(TAIL_BYTES);
    if (fileBytes < TAIL_BYTES) return null;
    readSync(fd, tail, 0, TAIL_BYTES, fileBytes - TAIL_BYTES);
    const jsonBytes = tail.readUInt32LE(0);
    if (tail.toString("latin1", 8) !== MAGIC || jsonBytes > FOOTER_MAX_BYTES) return null;
    const json = Buffer.alloc(jsonBytes);
    const dataBytes = fileBytes - TAIL_BYTES - jsonBytes;
    if (dataBytes < 0) return null;
    readSync(fd, json, 0, jsonBytes, dataBytes);
    if (Bun.hash.crc32(json) !== tail.readUInt32LE(4)) return null;
    const meta = JSON.parse(json.toString("utf8")) as ObjectMeta;
    return meta.size === dataBytes ? meta : null;
  } finally {
    closeSync(fd);
  }
}
