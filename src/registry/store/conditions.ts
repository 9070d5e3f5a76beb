/** Conditional requests and ranges, as HTTP defines them and S3 clients use them. */

import type { ObjectMeta } from "./object-file.ts";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";

/**
 * @param list value of `If-Match` or `If-None-Match`
 * @param etag without quotes
 * @returns whether the list names it
 */
function namesEtag(list: string, etag: string): boolean {
  return list
    .split(",")
    .map((item) =>
      item
        .trim()
        .replace(/^W\//, "")
        .replace(/^"(.*)"$/, "$1"),
    )
    .some((item) => item === "*" || item === etag);
}

function headerTimeMs(request: S3Request, name: string): number | null {
  const ms = Date.parse(request.headers.get(name) ?? "");
  return Number.isNaN(ms) ? null : ms;
}

/**
 * @param request GET or HEAD
 * @param meta of the object
 * @returns whether the client's copy is current (304)
 * @throws {S3Error} PreconditionFailed
 */
export function isNotModified(request: S3Request, meta: ObjectMeta): boolean {
  // Times in HTTP have whole seconds.
  const modifiedMs = Math.floor(meta.modifiedMs / 1000) * 1000;
  const ifMatch = request.headers.get("if-match");
  const unmodifiedSince = headerTimeMs(request, "if-unmodified-since");
  const failed =
    ifMatch === undefined
      ? unmodifiedSince !== null && modifiedMs > unmodifiedSince
      : !namesEtag(ifMatch, meta.etag);
  if (failed) throw preconditionFailed();
  const ifNoneMatch = request.headers.get("if-none-match");
  if (ifNoneMatch !== undefined) return namesEtag(ifNoneMatch, meta.etag);
  const modifiedSince = headerTimeMs(request, "if-modified-since");
  return modifiedSince !== null && modifiedMs <= modifiedSince;
}

/**
 * @param request PUT
 * @returns what refuses the change where the object is not as the client expects
 */
export function putPrecondition(request: S3Request): (current: ObjectMeta | undefined) => void {
  const ifMatch = request.headers.get("if-match");
  const ifNoneMatch = request.headers.get("if-none-match");
  return (current) => {
    if (ifMatch !== undefined) {
      if (current === undefined) throw new S3Error("NoSuchKey", "There is no such key");
      if (!namesEtag(ifMatch, current.etag)) throw preconditionFailed();
    }
    if (
      ifNoneMatch !== undefined &&
      current !== undefined &&
      namesEtag(ifNoneMatch, current.etag)
    ) {
      throw preconditionFailed();
    }
  };
}

function preconditionFailed(): S3Error {
  return new S3Error("PreconditionFailed", "The object is not in the state that was asked for");
}

/** Part of an object: from `start`, `length` bytes. */
export interface ByteRange {
  readonly start: number;
  readonly length: number;
}

/**
 * @param header value of `Range`; anything but one range of bytes is ignored, as HTTP allows
 * @param size of the object
 * @returns the range, or null for the whole
 * @throws {S3Error} InvalidRange
 */
export function parseRange(header: string | undefined, size: number): ByteRange | null {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return null;
  const suffix = first === "";
  const start = suffix ? Math.max(0, size - Number(last)) : Number(first);
  const end = suffix || last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (!suffix && last !== "" && Number(last) < Number(first)) return null;
  if (start >= size || (suffix && last !== "" && Number(last) === 0)) {
    throw new S3Error("InvalidRange", `The range lies outside of the object's ${size} bytes`);
  }
  return { start, length: end - start + 1 };
}
