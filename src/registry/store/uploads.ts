/**
 * Multipart uploads: parts as files until they are put together. They survive a restart of the
 * store; those that nobody finished are dropped after a day. What became of finished ones is known
 * for a while, since a client that lost the answer asks again.
 *
 * | path below `uploads/<ID>/` | holds |
 * | --- | --- |
 * | `upload.json` | bucket, key, headers |
 * | `<part number>-<MD5>` | data of one part |
 */

import { createHash } from "node:crypto";
import { closeSync, createReadStream, existsSync, fsyncSync, openSync } from "node:fs";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  STORE_FINISHED_UPLOADS_MAX,
  STORE_OBJECT_MAX_BYTES,
  STORE_PARTS_MAX,
  STORE_UPLOAD_AGE_MAX_MS,
  STORE_UPLOADS_MAX,
} from "../../common/limits.ts";
import type { StagedFile } from "./object-file.ts";
import { type ObjectStore, syncDirectory } from "./object-store.ts";
import { S3Error } from "./s3-error.ts";
import type { Claims, UploadChecksums } from "./upload-checksums.ts";

/** A multipart upload that is under way. */
export interface Upload {
  readonly id: string;
  readonly bucket: string;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly createdMs: number;
}

/** A part that has arrived. */
export interface Part {
  readonly number: number;
  readonly etag: string;
  readonly size: number;
}

/** A part as the end of an upload names it. */
export interface WantedPart extends Pick<Part, "number" | "etag"> {
  readonly claims: Claims;
}

const DESCRIPTION = "upload.json";
const PART_FILE = /^(\d{1,5})-([0-9a-f]{32})$/;

/** All uploads of a store. */
export class Uploads {
  readonly #dir: string;
  readonly #uploads = new Map<string, Upload>();
  /** ETags by id, oldest first. */
  readonly #finished = new Map<string, Pick<Upload, "bucket" | "key"> & { etag: string }>();
  readonly #finishing = new Map<string, Promise<string>>();

  /**
   * @param store whose directory holds them
   * @param nowMs milliseconds since 1970
   */
  constructor(store: ObjectStore, nowMs: number) {
    this.#dir = join(store.dir, "uploads");
    for (const id of readdirSync(this.#dir)) {
      const upload = this.#load(id);
      if (upload === null) rmSync(join(this.#dir, id), { recursive: true, force: true });
      else this.#uploads.set(id, upload);
    }
    this.#sweep(nowMs);
  }

  /** Drops what nobody has finished for too long; it would keep its place and its disk for ever. */
  #sweep(nowMs: number): void {
    for (const upload of this.#uploads.values()) {
      const isOld = nowMs - upload.createdMs > STORE_UPLOAD_AGE_MAX_MS;
      if (isOld && !this.#finishing.has(upload.id)) this.end(upload);
    }
  }

  #load(id: string): Upload | null {
    const path = join(this.#dir, id, DESCRIPTION);
    if (!existsSync(path)) return null;
    try {
      return JSON.parse(readFileSync(path, "utf8")) as Upload;
    } catch {
      return null;
    }
  }

  /**
   * @param upload where it will go; `createdMs` is now
   * @returns its id: letters and digits only, since some clients do not escape it
   * @throws {S3Error} SlowDown where too many are under way
   */
  begin(upload: Omit<Upload, "id">): string {
    this.#sweep(upload.createdMs);
    if (this.#uploads.size >= STORE_UPLOADS_MAX) {
      throw new S3Error("SlowDown", "Too many uploads are under way");
    }
    const id = crypto.randomUUID().replaceAll("-", "");
    const dir = join(this.#dir, id);
    mkdirSync(dir, { mode: 0o700 });
    const whole: Upload = { id, ...upload };
    writeDurably(join(dir, DESCRIPTION), JSON.stringify(whole));
    syncDirectory(dir);
    syncDirectory(this.#dir);
    this.#uploads.set(id, whole);
    return id;
  }

  /**
   * @param id of `begin`
   * @param bucket it was begun for
   * @param key it was begun for
   * @returns the upload
   * @throws {S3Error} NoSuchUpload
   */
  get(id: string, bucket: string, key: string): Upload {
    const upload = this.#uploads.get(id);
    if (upload === undefined || upload.bucket !== bucket || upload.key !== key) {
      throw new S3Error("NoSuchUpload", "There is no such upload");
    }
    return upload;
  }

  /**
   * @param bucket name
   * @param prefix of keys
   * @returns what is under way there
   */
  list(bucket: string, prefix: string): Upload[] {
    return [...this.#uploads.values()]
      .filter((upload) => upload.bucket === bucket && upload.key.startsWith(prefix))
      .toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  /**
   * @param upload under way
   * @returns its parts by number
   */
  parts(upload: Upload): Part[] {
    const dir = join(this.#dir, upload.id);
    return readdirSync(dir)
      .flatMap((file) => {
        const [, number, etag] = PART_FILE.exec(file) ?? [];
        if (number === undefined || etag === undefined) return [];
        return [{ number: Number(number), etag, size: statSync(join(dir, file)).size }];
      })
      .toSorted((a, b) => a.number - b.number);
  }

  /**
   * Keeps a part; a part of that number from before is replaced.
   * @param upload under way
   * @param number 1 to 10,000
   * @param staged the part's data
   * @returns its ETag
   * @throws {S3Error} InvalidArgument, NoSuchUpload
   */
  async addPart(upload: Upload, number: number, staged: StagedFile): Promise<string> {
    if (!(number >= 1 && number <= STORE_PARTS_MAX)) {
      throw new S3Error("InvalidArgument", `Part numbers are 1 to ${STORE_PARTS_MAX}`);
    }
    const etag = staged.md5Hex();
    await staged.close();
    this.get(upload.id, upload.bucket, upload.key);
    const dir = join(this.#dir, upload.id);
    renameSync(staged.path, join(dir, `${number}-${etag}`));
    for (const file of readdirSync(dir)) {
      if (file.startsWith(`${number}-`) && file !== `${number}-${etag}`) rmSync(join(dir, file));
    }
    syncDirectory(dir);
    return etag;
  }

  /**
   * Writes the parts that the client names, in their order.
   * @param upload under way
   * @param wanted numbers and ETags
   * @param staged receives the data
   * @param checksums that it must have
   * @returns the ETag of the whole
   * @throws {S3Error} InvalidPart, InvalidPartOrder, EntityTooLarge, BadDigest
   */
  async assemble(
    upload: Upload,
    wanted: readonly WantedPart[],
    staged: StagedFile,
    checksums: UploadChecksums,
  ): Promise<string> {
    const there = new Map(this.parts(upload).map((part) => [part.number, part]));
    const md5 = createHash("md5");
    let last = 0;
    let total = 0;
    for (const { number, etag } of wanted) {
      const part = there.get(number);
      if (part?.etag !== etag) throw new S3Error("InvalidPart", `Part ${number} is not there`);
      if (number <= last) throw new S3Error("InvalidPartOrder", "Parts are not in their order");
      last = number;
      total += part.size;
      md5.update(Buffer.from(etag, "hex"));
    }
    if (last === 0) throw new S3Error("MalformedXML", "No part is named");
    if (total > STORE_OBJECT_MAX_BYTES) {
      throw new S3Error("EntityTooLarge", `Objects have at most ${STORE_OBJECT_MAX_BYTES} bytes`);
    }
    for (const { number, etag, claims } of wanted) {
      checksums.beginPart(claims);
      const source = createReadStream(join(this.#dir, upload.id, `${number}-${etag}`));
      for await (const chunk of source as AsyncIterable<Buffer>) {
        checksums.update(chunk);
        await staged.write(chunk);
      }
      checksums.endPart(claims);
    }
    checksums.end();
    return `${md5.digest("hex")}-${wanted.length}`;
  }

  /**
   * Finishes an upload; a request that comes meanwhile gets what the first one gets.
   * @param upload under way
   * @param step joins its parts
   * @returns the ETag that `step` gives
   */
  async once(upload: Upload, step: (upload: Upload) => Promise<string>): Promise<string> {
    const running = this.#finishing.get(upload.id);
    if (running !== undefined) return running;
    const finishing = step(upload).finally(() => this.#finishing.delete(upload.id));
    this.#finishing.set(upload.id, finishing);
    return finishing;
  }

  /**
   * @param upload that has become an object
   * @param etag of the object
   */
  finish(upload: Upload, etag: string): void {
    const { id, bucket, key } = upload;
    this.#finished.set(id, { bucket, key, etag });
    const [oldest] = this.#finished.keys();
    if (this.#finished.size > STORE_FINISHED_UPLOADS_MAX) this.#finished.delete(oldest ?? "");
    this.end(upload);
  }

  /**
   * @param id of `begin`
   * @param bucket it was begun for
   * @param key it was begun for
   * @returns the ETag of what it has become, or null where it is not finished or long forgotten
   */
  tryFinished(id: string, bucket: string, key: string): string | null {
    const found = this.#finished.get(id);
    return found?.bucket === bucket && found.key === key ? found.etag : null;
  }

  /** @param upload to forget with all its parts */
  end(upload: Upload): void {
    this.#uploads.delete(upload.id);
    rmSync(join(this.#dir, upload.id), { recursive: true, force: true });
  }
}

function writeDurably(path: string, text: string): void {
  const fd = openSync(path, "wx", 0o600);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
