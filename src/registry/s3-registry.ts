/**
 * The remote registry: one object per lambda in an S3 bucket, the key is the lambda's name, the value
 * its bundle. The version is the object's ETag.
 */

import { createHash } from "node:crypto";
import { rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { OlError } from "../common/errors.ts";
import { BUNDLE_MAX_BYTES, S3_MULTIPART_FROM_BYTES } from "../common/limits.ts";
import { isLambdaName, requireLambdaName } from "../common/names.ts";
import { unpackBundle } from "./bundle.ts";
import { invalidCode } from "./code-path.ts";
import type {
  Registry,
  RegistryEntry,
  RegistryVersion,
  RegistryWriter,
  UploadProgress,
} from "./contract.ts";
import { parseS3Address } from "./s3-address.ts";
import { type S3Keys, S3Requests, type StallGuard } from "./s3-client.ts";

/** How often a version is fetched anew when the store moves on or sends something else. */
const PULL_TRIES_MAX = 3;
const PART_BYTES = 8 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;
const MD5_ETAG = /^[0-9a-f]{32}$/;

/** What a download gave. */
type Download = { readonly kind: "done"; readonly etag: string } | { readonly kind: "moved" };

/** Lambdas in an S3 bucket. */
export class S3Registry implements Registry, RegistryWriter {
  readonly #requests: S3Requests;
  #bucketSeen = false;

  /**
   * @param server value of `registry_server`
   * @param keys of the account
   * @param stallMs longest silence of the store in milliseconds; default `S3_STALL_TIMEOUT_MS`
   * @throws {OlError} config_invalid
   */
  constructor(server: string, keys: S3Keys, stallMs?: number) {
    this.#requests = new S3Requests(parseS3Address(server), keys, stallMs);
  }

  #key(name: string): string {
    return this.#requests.address.prefix + name;
  }

  /** @see Registry.resolve */
  async resolve(name: string, known?: RegistryVersion): Promise<RegistryVersion | null> {
    if (!isLambdaName(name)) return null;
    const headers = known === undefined ? {} : { "if-none-match": `"${known.id}"` };
    const found = await this.#requests.send("HEAD", this.#key(name), { headers }, (response) => {
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
    const { bucket } = this.#requests.address;
    await this.#requests.viaBun(async (client) => {
      try {
        await client.list({ maxKeys: 1 });
      } catch (error) {
        if ((error as { code?: unknown } | null)?.code !== "NoSuchBucket") throw error;
        throw new OlError(
          "registry_unavailable",
          `Cannot use the registry: its S3 store has no bucket "${bucket}", create it first`,
          { op: "registry.s3", cause: error },
        );
      }
    });
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
      `Cannot pull lambda "${name}": its object changed during each of ${PULL_TRIES_MAX} downloads`,
      { op: "registry.pull", retryable: true },
    );
  }

  async #download(name: string, etag: string | null, file: string): Promise<Download> {
    const headers = etag === null ? {} : { "if-match": `"${etag}"` };
    return this.#requests.send("GET", this.#key(name), { headers }, async (response, guard) => {
      if (response.status === 412) return { kind: "moved" };
      if (response.status === 404) {
        throw new OlError("lambda_unknown", `Cannot find lambda "${name}" in the registry`, {
          op: "registry.pull",
        });
      }
      const received = await receive(response, guard, file);
      const actual = etagOf(response);
      // Where the ETag is the MD5 of the data it must be that of what arrived: anything else is of
      // two versions, or was damaged.
      const checkable = MD5_ETAG.test(actual) && !isEncrypted(response);
      if (checkable && received !== actual) return { kind: "moved" };
      return { kind: "done", etag: actual };
    });
  }

  /** @see Registry.list */
  async list(): Promise<readonly RegistryEntry[]> {
    const { prefix } = this.#requests.address;
    const entries: RegistryEntry[] = [];
    let token: string | undefined;
    do {
      const page: Bun.S3ListObjectsResponse = await this.#requests.viaBun((client) =>
        client.list({
          ...(prefix === "" ? {} : { prefix }),
          ...(token === undefined ? {} : { continuationToken: token }),
        }),
      );
      for (const item of page.contents ?? []) {
        const name = item.key.slice(prefix.length);
        if (!isLambdaName(name)) continue;
        entries.push({
          name,
          version: unquoted(item.eTag ?? ""),
          sizeBytes: item.size ?? 0,
          modifiedMs: Date.parse(item.lastModified ?? "") || 0,
        });
      }
      token = page.isTruncated === true ? page.nextContinuationToken : undefined;
    } while (token !== undefined);
    return entries;
  }

  /** @see RegistryWriter.put */
  async put(
    name: string,
    bundlePath: string,
    onProgress?: UploadProgress,
  ): Promise<RegistryVersion> {
    requireLambdaName(name);
    const totalBytes = statSync(bundlePath).size;
    if (totalBytes >= S3_MULTIPART_FROM_BYTES) {
      await this.#putInParts(name, bundlePath, totalBytes, onProgress);
    } else {
      // One piece in memory, so that it can be sent again.
      const body = new Blob([await Bun.file(bundlePath).bytes()]);
      const headers = { "content-type": "application/gzip" };
      await this.#requests.send("PUT", this.#key(name), { body, headers }, (response) => {
        if (response.status === 404) throw this.#noBucket();
      });
      onProgress?.(totalBytes, totalBytes);
    }
    const version = await this.resolve(name);
    if (version !== null) return version;
    throw new OlError(
      "registry_unavailable",
      `Cannot upload lambda "${name}": its S3 store does not show what was sent`,
      { op: "registry.put" },
    );
  }

  #noBucket(): OlError {
    const { bucket } = this.#requests.address;
    return new OlError(
      "registry_unavailable",
      `Cannot use the registry: its S3 store has no bucket "${bucket}", create it first`,
      { op: "registry.s3" },
    );
  }

  async #putInParts(
    name: string,
    bundlePath: string,
    totalBytes: number,
    onProgress?: UploadProgress,
  ): Promise<void> {
    const handle = await open(bundlePath, "r");
    try {
      await this.#requests.viaBun(async (client) => {
        const writer = client.file(this.#key(name)).writer({
          partSize: PART_BYTES,
          queueSize: 2,
          retry: 3,
          type: "application/gzip",
        });
        for (let sentBytes = 0; sentBytes < totalBytes;) {
          const { bytesRead, buffer } = await handle.read(
            new Uint8Array(READ_BYTES),
            0,
            READ_BYTES,
          );
          if (bytesRead === 0) break;
          await writer.write(buffer.subarray(0, bytesRead));
          sentBytes += bytesRead;
          if (sentBytes % PART_BYTES === 0) await writer.flush();
          onProgress?.(sentBytes, totalBytes);
        }
        await writer.end();
      });
    } finally {
      await handle.close();
    }
  }

  /** @see RegistryWriter.remove */
  async remove(name: string): Promise<boolean> {
    requireLambdaName(name);
    if ((await this.resolve(name)) === null) return false;
    await this.#requests.send("DELETE", this.#key(name), {}, () => undefined);
    return true;
  }
}

function unquoted(etag: string): string {
  return etag.replace(/^W\//, "").replaceAll('"', "");
}

function etagOf(response: Response): string {
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

/** @returns MD5 of what arrived, in hex */
async function receive(response: Response, guard: StallGuard, file: string): Promise<string> {
  const announced = response.headers.get("content-length");
  const md5 = createHash("md5");
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
  return md5.digest("hex");
}
