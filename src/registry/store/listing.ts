/** Listings of a bucket in both versions: prefix, delimiter, pages, encoded keys. */

import { STORE_PAGE_MAX_KEYS } from "../../common/limits.ts";
import type { ObjectStore } from "./object-store.ts";
import { queryValue, type S3Request } from "./request.ts";
import { S3Error, type XmlElements, xmlDocument } from "./s3-error.ts";

interface Page {
  readonly keys: readonly string[];
  readonly prefixes: readonly string[];
  /** Last key or prefix of the page; where the next one goes on. Null on the last page. */
  readonly next: string | null;
}

interface Wanted {
  readonly prefix: string;
  readonly delimiter: string;
  readonly after: string;
  readonly max: number;
}

function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** First index whose key is greater than `after`, by bisection. */
function firstAfter(keys: readonly string[], after: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(keys[middle] as string, after) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * @param all keys of a bucket in S3's order
 * @param wanted prefix, delimiter, where to go on, size
 * @returns one page
 */
export function listPage(all: readonly string[], wanted: Wanted): Page {
  const { prefix, delimiter, after, max } = wanted;
  const keys: string[] = [];
  const prefixes: string[] = [];
  let last = "";
  for (let index = firstAfter(all, after); index < all.length; index++) {
    const key = all[index] as string;
    if (!key.startsWith(prefix)) {
      if (compareKeys(key, prefix) > 0) break;
      continue;
    }
    const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
    const group = end === -1 ? null : key.slice(0, end + delimiter.length);
    // Members of a group that the page before has told already.
    if (group !== null && (group === prefixes.at(-1) || group === after)) continue;
    if (keys.length + prefixes.length >= max) {
      return { keys, prefixes, next: max === 0 ? null : last };
    }
    if (group === null) keys.push(key);
    else prefixes.push(group);
    last = group ?? key;
  }
  return { keys, prefixes, next: null };
}

function pageSize(request: S3Request): number {
  const text = queryValue(request, "max-keys") ?? String(STORE_PAGE_MAX_KEYS);
  if (!/^\d{1,10}$/.test(text)) throw new S3Error("InvalidArgument", "max-keys is not a number");
  return Math.min(Number(text), STORE_PAGE_MAX_KEYS);
}

/**
 * @param store with the bucket
 * @param request a listing of either version
 * @returns the XML answer
 * @throws {S3Error} NoSuchBucket, InvalidArgument
 */
export function listObjects(store: ObjectStore, request: S3Request): string {
  const version2 = queryValue(request, "list-type") === "2";
  const encodingType = queryValue(request, "encoding-type");
  if (encodingType !== undefined && encodingType !== "url") {
    throw new S3Error("InvalidArgument", "The only encoding-type is url");
  }
  const shown = (text: string): string =>
    encodingType === undefined ? text : encodeURIComponent(text).replaceAll("%2F", "/");
  const prefix = queryValue(request, "prefix") ?? "";
  const delimiter = queryValue(request, "delimiter") ?? "";
  const token = queryValue(request, "continuation-token");
  const startAfter = queryValue(request, version2 ? "start-after" : "marker") ?? "";
  const after = version2 && token !== undefined ? decodeToken(token) : startAfter;
  const max = pageSize(request);
  const page = listPage(store.keys(request.bucket), { prefix, delimiter, after, max });

  const contents = page.keys.map((key) => {
    const meta = store.get(request.bucket, key);
    return {
      Key: shown(key),
      LastModified: new Date(meta?.modifiedMs ?? 0).toISOString(),
      ETag: `"${meta?.etag ?? ""}"`,
      Size: meta?.size ?? 0,
      StorageClass: "STANDARD",
    } satisfies XmlElements;
  });
  const versionFields: XmlElements = version2
    ? {
        KeyCount: page.keys.length + page.prefixes.length,
        ContinuationToken: token,
        NextContinuationToken: page.next === null ? undefined : encodeToken(page.next),
        StartAfter: startAfter === "" ? undefined : shown(startAfter),
      }
    : { Marker: shown(startAfter), NextMarker: page.next === null ? undefined : shown(page.next) };
  return xmlDocument("ListBucketResult", {
    Name: request.bucket,
    Prefix: shown(prefix),
    ...versionFields,
    MaxKeys: max,
    Delimiter: delimiter === "" ? undefined : shown(delimiter),
    EncodingType: encodingType,
    IsTruncated: page.next !== null,
    Contents: contents,
    CommonPrefixes: page.prefixes.map((group) => ({ Prefix: shown(group) })),
  });
}

function encodeToken(key: string): string {
  return Buffer.from(key).toString("hex");
}

function decodeToken(token: string): string {
  if (!/^(?:[0-9a-f]{2})*$/.test(token)) {
    throw new S3Error("InvalidArgument", "The continuation token is not valid");
  }
  return Buffer.from(token, "hex").toString("utf8");
}
