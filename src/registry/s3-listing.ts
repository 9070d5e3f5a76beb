/** What a bucket of an S3 store holds, page by page. */

import { OlError } from "../common/errors.ts";
import { S3_LISTING_PAGES_MAX } from "../common/limits.ts";
import { noBucket, readDocument, type S3Requests } from "./s3-client.ts";
import { unquoted } from "./s3-download.ts";
import { xmlChildren, xmlChildText } from "./store/body.ts";

/** An object of a listing. */
export interface ListedObject {
  readonly key: string;
  /** Without quotes. */
  readonly etag: string;
  readonly sizeBytes: number;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
}

/**
 * @param requests to the bucket
 * @param max how many objects are enough; null for all
 * @param take gets each object below the address's prefix, in the order of keys
 * @throws {OlError} registry_unavailable, also where there is no such bucket or no end of pages;
 *   registry_denied
 */
export async function listObjects(
  requests: S3Requests,
  max: number | null,
  take: (object: ListedObject) => void,
): Promise<void> {
  const { prefix } = requests.address;
  let token: string | undefined;
  for (let pages = 0; pages < S3_LISTING_PAGES_MAX; pages++) {
    const query: [string, string][] = [
      ["list-type", "2"],
      // Keys may hold characters that XML cannot.
      ["encoding-type", "url"],
    ];
    if (prefix !== "") query.push(["prefix", prefix]);
    if (max !== null) query.push(["max-keys", String(max)]);
    if (token !== undefined) query.push(["continuation-token", token]);
    const page = await requests.send({ method: "GET", key: "", query }, async (response, guard) => {
      if (response.status !== 200) throw noBucket(requests.address);
      return (await readDocument(response, guard)).root;
    });
    const isEncoded = xmlChildText(page, "EncodingType") === "url";
    for (const item of xmlChildren(page, "Contents")) take(objectOf(item, isEncoded));
    const isTruncated = max === null && xmlChildText(page, "IsTruncated") === "true";
    const next = isTruncated ? xmlChildText(page, "NextContinuationToken") : undefined;
    if (next === undefined) return;
    if (next === token) break;
    token = next;
  }
  throw new OlError(
    "registry_unavailable",
    "Cannot use the registry: the listing of its S3 store does not come to an end",
    { op: "registry.list" },
  );
}

/** A key as it is where what should be its escapes are none. */
function decoded(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return key;
  }
}

function objectOf(item: unknown, isEncoded: boolean): ListedObject {
  const key = xmlChildText(item, "Key") ?? "";
  return {
    key: isEncoded ? decoded(key) : key,
    etag: unquoted(xmlChildText(item, "ETag") ?? ""),
    sizeBytes: Number(xmlChildText(item, "Size") ?? 0),
    modifiedMs: Date.parse(xmlChildText(item, "LastModified") ?? "") || 0,
  };
}
