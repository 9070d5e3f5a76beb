/**
 * The remote registry: one object per lambda in an S3 bucket, the key is the lambda's name, the value
 * its bundle. The version is the object's ETag.
 */

import { rmSync, statSync } from "node:fs";
import { type Clock, systemClock } from "../common/clock.ts";
import { OlError } from "../common/errors.ts";
import { S3_MULTIPART_FROM_BYTES } from "../common/limits.ts";
import { isLambdaName, requireLambdaName } from "../common/names.ts";
import { unpackBundle } from "./bundle.ts";
import type {
  Registry,
  RegistryEntry,
  RegistryVersion,
  RegistryWriter,
  UploadProgress,
} from "./contract.ts";
import { parseS3Address } from "./s3-address.ts";
import { noBucket, type S3Keys, S3Requests } from "./s3-client.ts";
import { DIGEST_HEADER, ASK_CHECKSUMS, etagOf, isIntact, receive } from "./s3-download.ts";
import { listObjects } from "./s3-listing.ts";
import { putInParts, sha256OfFile } from "./s3-multipart.ts";
import { UnknownNames } from "./unknown-names.ts";

/** How often a version is fetched anew when the store moves on or sends something else. */
const PULL_TRIES_MAX = 3;

/** What a download gave. */
type Download = { readonly kind: "done"; readonly etag: string } | { readonly kind: "moved" };

/** What a remote registry may be told. */
export interface S3RegistryOptions {
  /** Longest silence of the store in milliseconds; default `S3_STALL_TIMEOUT_MS`. */
  readonly stallMs?: number;
  /**
   * For how long the answer for a name without a version holds, in milliseconds; default 0. Names with
   * one are the caller's, who knows when it asked.
   */
  readonly cacheMs?: number;
  readonly clock?: Clock;
}

/** Lambdas in an S3 bucket. */
export class S3Registry implements Registry, RegistryWriter {
  readonly #requests: S3Requests;
  readonly #unknown: UnknownNames;
  #bucketSeen = false;

  /**
   * @param server value of `registry_server`
   * @param keys of the account
   * @param options time limits
   * @throws {OlError} config_invalid
   */
  constructor(server: string, keys: S3Keys, options: S3RegistryOptions = {}) {
    this.#requests = new S3Requests(parseS3Address(server), keys, options.stallMs);
    this.#unknown = new UnknownNames(options.cacheMs ?? 0, options.clock ?? systemClock);
  }

  #key(name: string): string {
    return this.#requests.address.prefix + name;
  }

  /** @see Registry.resolve */
  async resolve(name: string, known?: RegistryVersion): Promise<RegistryVersion | null> {
    if (!isLambdaName(name)) return null;
    const ask = (): Promise<RegistryVersion | null> => this.#ask(name, known);
    return known === undefined ? this.#unknown.resolve(name, ask) : ask();
  }

  async #ask(name: string, known?: RegistryVersion): Promise<RegistryVersion | null> {
    const headers = known === undefined ? {} : { "if-none-match": `"${known.id}"` };
    const call = { method: "HEAD", key: this.#key(name), headers } as const;
    const found = await this.#requests.send(call, (response) => {
      if (response.status === 304 && known !== undefined) return known;
      return response.status === 404 ? null : { id: etagOf(response) };
    });
    if (found === null) await this.#requireBucket();
    else this.#bucketSeen = true;
    return found;
  }

  /** A missing bucket answers like a missing lambda; once it was seen it is not asked for again. */
  async #requireBucket(): Promise<void> {
    if (this.#bucketSeen) return;
    await listObjects(this.#requests, 1, () => {});
    this.#bucketSeen = true;
  }

  /** @see Registry.pull */
  async pull(name: string, version: RegistryVersion, destDir: string): Promise<RegistryVersion> {
    requireLambdaName(name);
    const file = `${destDir}~bundle-${crypto.randomUUID()}`;
    try {
      let wanted: string | null = version.id;
      for (let attempt = 1; attempt <= PULL_TRIES_MAX; attempt++) {
        const download = await this.#download(name, wanted, file);
        if (download.kind === "done") {
          await unpackBundle(file, destDir);
          return { id: download.etag };
        }
        wanted = null;
      }
    } finally {
      rmSync(file, { force: true });
    }
    throw new OlError(
      "registry_unavailable",
      `Cannot pull lambda "${name}": its object changed, or arrived damaged, in each of ` +
        `${PULL_TRIES_MAX} downloads`,
      { op: "registry.pull", retryable: true },
    );
  }

  async #download(name: string, etag: string | null, file: string): Promise<Download> {
    const headers = { ...ASK_CHECKSUMS, ...(etag === null ? {} : { "if-match": `"${etag}"` }) };
    const call = { method: "GET", key: this.#key(name), headers } as const;
    return this.#requests.send(call, async (response, guard) => {
      if (response.status === 412) return { kind: "moved" };
      if (response.status === 404) {
        throw new OlError("lambda_unknown", `Cannot find lambda "${name}" in the registry`, {
          op: "registry.pull",
        });
      }
      const received = await receive(response, guard, file);
      // Anything else than what the store says of it is of two versions, or was damaged.
      if (!isIntact(response, received)) return { kind: "moved" };
      return { kind: "done", etag: etagOf(response) };
    });
  }

  /** @see Registry.list */
  async list(): Promise<readonly RegistryEntry[]> {
    const { prefix } = this.#requests.address;
    const entries: RegistryEntry[] = [];
    await listObjects(this.#requests, null, (item) => {
      const name = item.key.slice(prefix.length);
      if (!isLambdaName(name)) return;
      const { etag: version, sizeBytes, modifiedMs } = item;
      entries.push({ name, version, sizeBytes, modifiedMs });
    });
    return entries;
  }

  /** @see RegistryWriter.put */
  async put(
    name: string,
    bundlePath: string,
    onProgress?: UploadProgress,
  ): Promise<RegistryVersion> {
    requireLambdaName(name);
    const key = this.#key(name);
    const totalBytes = statSync(bundlePath).size;
    const headers = {
      "content-type": "application/gzip",
      [DIGEST_HEADER]: await sha256OfFile(bundlePath),
    };
    if (totalBytes >= S3_MULTIPART_FROM_BYTES) {
      await putInParts(this.#requests, { key, headers, bundlePath, totalBytes }, onProgress);
    } else {
      const body = await Bun.file(bundlePath).bytes();
      await this.#requests.send({ method: "PUT", key, body, headers }, (response) => {
        if (response.status !== 200) throw noBucket(this.#requests.address);
      });
      onProgress?.(totalBytes, totalBytes);
    }
    this.#unknown.forget(name);
    const version = await this.resolve(name);
    if (version !== null) return version;
    throw new OlError(
      "registry_unavailable",
      `Cannot upload lambda "${name}": its S3 store does not show what was sent`,
      { op: "registry.put" },
    );
  }

  /** @see RegistryWriter.remove */
  async remove(name: string): Promise<boolean> {
    requireLambdaName(name);
    if ((await this.resolve(name)) === null) return false;
    await this.#requests.send({ method: "DELETE", key: this.#key(name) }, () => undefined);
    return true;
  }
}
