/** Sends a large bundle to an S3 store in parts: a part that fails is sent again, not the whole. */

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import type { UploadProgress } from "./contract.ts";
import { noBucket, readDocument, refusal, type S3Requests, type StallGuard } from "./s3-client.ts";
import { DIGEST_HEADER, etagOf } from "./s3-download.ts";
import { xmlChildText } from "./store/body.ts";
import { xmlDocument } from "./store/s3-error.ts";

const PART_BYTES = 8 * 1024 * 1024;

/** What is sent where. */
export interface MultipartUpload {
  readonly key: string;
  /** With the digest of the whole. */
  readonly headers: Readonly<Record<string, string>>;
  readonly bundlePath: string;
  readonly totalBytes: number;
}

/**
 * @param path of a file
 * @returns its SHA-256 in hex
 */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of Bun.file(path).stream() as unknown as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
  }
  return hash.digest("hex");
}

/**
 * @param requests to the bucket
 * @param upload what is sent where
 * @param onProgress told at the start and after each part
 * @throws {OlError} registry_unavailable, registry_denied; nothing is left in the store then
 */
export async function putInParts(
  requests: S3Requests,
  upload: MultipartUpload,
  onProgress?: UploadProgress,
): Promise<void> {
  const { key, headers, totalBytes } = upload;
  const id = await requests.send(
    { method: "POST", key, headers, query: [["uploads", ""]], body: new Uint8Array() },
    async (response, guard) => {
      if (response.status !== 200) throw noBucket(requests.address);
      return xmlChildText((await readDocument(response, guard)).root, "UploadId") ?? "";
    },
  );
  onProgress?.(0, totalBytes);
  try {
    const etags = await sendParts(requests, upload, id, onProgress);
    await finish(requests, upload, id, etags);
  } catch (error) {
    // What was sent takes space in the store until someone drops it; the first failure is what counts.
    await requests
      .send({ method: "DELETE", key, query: [["uploadId", id]] }, () => undefined)
      .catch(() => undefined);
    throw error;
  }
}

async function sendParts(
  requests: S3Requests,
  { key, bundlePath, totalBytes }: MultipartUpload,
  id: string,
  onProgress?: UploadProgress,
): Promise<string[]> {
  const etags: string[] = [];
  const handle = await open(bundlePath, "r");
  try {
    for (let sentBytes = 0; sentBytes < totalBytes;) {
      const part = new Uint8Array(Math.min(PART_BYTES, totalBytes - sentBytes));
      for (let offset = 0; offset < part.length;) {
        const { bytesRead } = await handle.read(part, offset, part.length - offset);
        if (bytesRead === 0) throw new Error("the bundle became shorter while it was sent");
        offset += bytesRead;
      }
      const query = [
        ["partNumber", String(etags.length + 1)],
        ["uploadId", id],
      ] as const;
      const sent = await requests.send({ method: "PUT", key, query, body: part }, (response) => {
        if (response.status !== 200) throw refusal(response.status, "NoSuchUpload");
        return etagOf(response);
      });
      etags.push(sent);
      sentBytes += part.length;
      onProgress?.(sentBytes, totalBytes);
    }
  } finally {
    await handle.close();
  }
  return etags;
}

async function isDone(response: Response, guard: StallGuard): Promise<boolean> {
  if (response.status !== 200) return false;
  const { name, root } = await readDocument(response, guard);
  // A store that takes long sends 200 first, and only then what went wrong.
  if (name === "Error") throw refusal(500, xmlChildText(root, "Code") ?? null);
  return true;
}

async function finish(
  requests: S3Requests,
  { key, headers }: MultipartUpload,
  id: string,
  etags: readonly string[],
): Promise<void> {
  const document = xmlDocument("CompleteMultipartUpload", {
    Part: etags.map((etag, index) => ({ PartNumber: index + 1, ETag: `"${etag}"` })),
  });
  const body = new Uint8Array(new TextEncoder().encode(document));
  if (await requests.send({ method: "POST", key, query: [["uploadId", id]], body }, isDone)) return;
  // An answer that was lost: the upload is gone because it is done.
  const isThere = await requests.send(
    { method: "HEAD", key },
    (response) => response.headers.get(DIGEST_HEADER) === headers[DIGEST_HEADER],
  );
  if (!isThere) throw refusal(404, "NoSuchUpload");
}
