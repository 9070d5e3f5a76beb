/**
 * Buckets and objects on disk. One process owns the directory; the index of keys is in memory and is
 * rebuilt at start from the files, which are the truth. An object is visible once its file has been
 * made durable and renamed into place, so a crash leaves the old object or the new one, whole.
 *
 * | path | holds |
 * | --- | --- |
 * | `buckets/<BUCKET>/<2 hex>/<SHA-256 of the key>` | one object each (`object-file.ts`) |
 * | `tmp/` | files in the making; emptied at start |
 * | `uploads/` | multipart uploads (`uploads.ts`) |
 */

import {
  closeSync,
  constants,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
} from "node:fs";
import { rmdirSync, rmSync, statSync, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { errnoNameOf } from "../../common/errors.ts";
import type { Precondition } from "./conditions.ts";
import { type ObjectMeta, readObjectMeta, StagedFile } from "./object-file.ts";
import { S3Error } from "./s3-error.ts";
import { sha256Hex } from "./sigv4.ts";

interface Bucket {
  readonly createdMs: number;
  readonly objects: Map<string, ObjectMeta>;
  /** Keys in the order of S3 (bytes of UTF-8), or null after a change. */
  sorted: string[] | null;
}

/** What an object becomes when it is put in place. */
export interface NewObject {
  readonly bucket: string;
  readonly key: string;
  /** Without quotes. */
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly modifiedMs: number;
  /** Asked with the object that is there now, at the moment of the change; throws to refuse. */
  readonly precondition?: Precondition;
}

/** The store's state. */
export class ObjectStore {
  readonly dir: string;
  readonly #buckets = new Map<string, Bucket>();

  /**
   * Opens or creates a store.
   * @param dir its directory; no other process may have it open
   */
  constructor(dir: string) {
    this.dir = dir;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    syncDirectory(dirname(dir));
    rmSync(this.#path("tmp"), { recursive: true, force: true });
    for (const part of ["tmp", "buckets", "uploads"]) {
      mkdirSync(this.#path(part), { recursive: true, mode: 0o700 });
    }
    for (const name of readdirSync(this.#path("buckets"))) this.#loadBucket(name);
    syncDirectory(dir);
  }

  #path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  #objectPath(bucket: string, key: string): string {
    const hash = sha256Hex(key);
    return this.#path("buckets", bucket, hash.slice(0, 2), hash);
  }

  #loadBucket(name: string): void {
    const dir = this.#path("buckets", name);
    const bucket: Bucket = {
      createdMs: statSync(dir).birthtimeMs,
      objects: new Map(),
      sorted: null,
    };
    for (const shard of readdirSync(dir)) {
      for (const file of readdirSync(join(dir, shard))) {
        const meta = readObjectMeta(join(dir, shard, file));
        // A file that is not whole never was an object; it is left for whoever looks into it.
        if (meta !== null && sha256Hex(meta.key) === file) bucket.objects.set(meta.key, meta);
      }
    }
    this.#buckets.set(name, bucket);
  }

  /** @returns names and times of creation, sorted by name */
  buckets(): { readonly name: string; readonly createdMs: number }[] {
    return [...this.#buckets]
      .map(([name, { createdMs }]) => ({ name, createdMs }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * @param name checked bucket name
   * @throws {S3Error} BucketAlreadyOwnedByYou
   */
  createBucket(name: string): void {
    if (this.#buckets.has(name)) {
      throw new S3Error("BucketAlreadyOwnedByYou", "The bucket exists already");
    }
    mkdirSync(this.#path("buckets", name), { recursive: true, mode: 0o700 });
    syncDirectory(this.#path("buckets"));
    this.#buckets.set(name, { createdMs: Date.now(), objects: new Map(), sorted: null });
  }

  /** @param name checked bucket name; nothing happens where there is such a bucket */
  ensureBucket(name: string): void {
    if (!this.#buckets.has(name)) this.createBucket(name);
  }

  /**
   * @param name bucket that must be empty
   * @throws {S3Error} NoSuchBucket, BucketNotEmpty
   */
  deleteBucket(name: string): void {
    if (this.#bucket(name).objects.size > 0) {
      throw new S3Error("BucketNotEmpty", "The bucket is not empty");
    }
    const dir = this.#path("buckets", name);
    // The disk first: where it refuses, the bucket must not be back only after a restart.
    try {
      for (const shard of readdirSync(dir)) rmdirSync(join(dir, shard));
      rmdirSync(dir);
    } catch (error) {
      if (errnoNameOf(error) !== "ENOTEMPTY") throw error;
      throw new S3Error("BucketNotEmpty", "The bucket is not empty: it holds damaged files");
    }
    this.#buckets.delete(name);
    syncDirectory(this.#path("buckets"));
  }

  /**
   * @param name bucket that must exist
   * @throws {S3Error} NoSuchBucket
   */
  requireBucket(name: string): void {
    this.#bucket(name);
  }

  #bucket(name: string): Bucket {
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) throw new S3Error("NoSuchBucket", "There is no such bucket");
    return bucket;
  }

  /**
   * @param bucket name
   * @param key name
   * @returns the object's metadata, or undefined
   * @throws {S3Error} NoSuchBucket
   */
  get(bucket: string, key: string): ObjectMeta | undefined {
    return this.#bucket(bucket).objects.get(key);
  }

  /**
   * @param bucket name
   * @returns its keys in the order of S3; not to be changed
   * @throws {S3Error} NoSuchBucket
   */
  keys(bucket: string): readonly string[] {
    const found = this.#bucket(bucket);
    found.sorted ??= [...found.objects.keys()].toSorted((a, b) =>
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
    );
    return found.sorted;
  }

  /**
   * Metadata and an open descriptor of the same version: a later put does not disturb the reader.
   * @param bucket name
   * @param key name
   * @returns both; the caller closes the descriptor
   * @throws {S3Error} NoSuchBucket, NoSuchKey
   */
  open(bucket: string, key: string): { readonly meta: ObjectMeta; readonly fd: number } {
    const meta = this.get(bucket, key);
    if (meta === undefined) throw new S3Error("NoSuchKey", "There is no such key");
    return { meta, fd: openSync(this.#objectPath(bucket, key), "r") };
  }

  /** @returns an empty file in the making */
  stage(): Promise<StagedFile> {
    return StagedFile.create(this.#path("tmp", crypto.randomUUID()));
  }

  /**
   * Makes a staged file the object of its key, durably.
   * @param staged with all its data
   * @param object what it becomes
   * @returns its metadata
   * @throws {S3Error} NoSuchBucket, or what the precondition throws
   */
  async commit(staged: StagedFile, object: NewObject): Promise<ObjectMeta> {
    const { key, etag, headers, modifiedMs } = object;
    const meta: ObjectMeta = { key, size: staged.sizeBytes, etag, modifiedMs, headers };
    await staged.seal(meta);
    const bucket = this.#bucket(object.bucket);
    object.precondition?.(bucket.objects.get(key));
    const path = this.#objectPath(object.bucket, key);
    const shard = join(path, "..");
    // From here to the index no other request can come in between: one of two puts wins, whole.
    if (ensureDirectory(shard)) syncDirectory(join(shard, ".."));
    renameSync(staged.path, path);
    bucket.objects.set(key, meta);
    bucket.sorted = null;
    syncDirectory(shard);
    return meta;
  }

  /**
   * @param bucket name
   * @param key name
   * @param precondition asked with the object first; throws to refuse
   * @returns whether there was such an object
   * @throws {S3Error} NoSuchBucket, or what the precondition throws
   */
  delete(bucket: string, key: string, precondition?: Precondition): boolean {
    const found = this.#bucket(bucket);
    const meta = found.objects.get(key);
    precondition?.(meta);
    if (meta === undefined) return false;
    const path = this.#objectPath(bucket, key);
    // The disk first: an object that it keeps would be back after a restart.
    try {
      unlinkSync(path);
    } catch (error) {
      if (errnoNameOf(error) !== "ENOENT") throw error;
    }
    found.objects.delete(key);
    found.sorted = null;
    syncDirectory(join(path, ".."));
    return true;
  }
}

/** @returns whether it had to be made */
function ensureDirectory(dir: string): boolean {
  try {
    mkdirSync(dir, { mode: 0o700 });
    return true;
  } catch (error) {
    if (errnoNameOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** @param dir directory whose entries are to survive a loss of power */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
