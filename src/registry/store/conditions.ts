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

/** The four conditions of a request; those on the source of a copy have a prefix. */
interface Conditions {
  readonly ifMatch: string | undefined;
  readonly ifNoneMatch: string | undefined;
  readonly modifiedSinceMs: number | null;
  readonly unmodifiedSinceMs: number | null;
}

function conditionsOf(request: S3Request, prefix: string): Conditions {
  const timeMs = (name: string): number | null => {
    const ms = Date.parse(request.headers.get(prefix + name) ?? "");
    return Number.isNaN(ms) ? null : ms;
  };
  return {
    ifMatch: request.headers.get(`${prefix}if-match`),
    ifNoneMatch: request.headers.get(`${prefix}if-none-match`),
    modifiedSinceMs: timeMs("if-modified-since"),
    unmodifiedSinceMs: timeMs("if-unmodified-since"),
  };
}

/** @returns what the conditions say of an object */
function judge(conditions: Conditions, meta: ObjectMeta): "failed" | "not modified" | "go on" {
  const { ifMatch, ifNoneMatch, modifiedSinceMs, unmodifiedSinceMs } = conditions;
  // Times in HTTP have whole seconds.
  const modifiedMs = Math.floor(meta.modifiedMs / 1000) * 1000;
  const failed =
    ifMatch === undefined
      ? unmodifiedSinceMs !== null && modifiedMs > unmodifiedSinceMs
      : !namesEtag(ifMatch, meta.etag);
  if (failed) return "failed";
  const isCurrent =
    ifNoneMatch === undefined
      ? modifiedSinceMs !== null && modifiedMs <= modifiedSinceMs
      : namesEtag(ifNoneMatch, meta.etag);
  return isCurrent ? "not modified" : "go on";
}

/**
 * @param request GET or HEAD
 * @param meta of the object
 * @returns whether the client's copy is current (304)
 * @throws {S3Error} PreconditionFailed
 */
export function isNotModified(request: S3Request, meta: ObjectMeta): boolean {
  const verdict = judge(conditionsOf(request, ""), meta);
  if (verdict === "failed") throw preconditionFailed();
  return verdict === "not modified";
}

/**
 * @param request a copy
 * @param source metadata of what is to be copied
 * @throws {S3Error} PreconditionFailed
 */
export function requireCopySource(request: S3Request, source: ObjectMeta): void {
  const verdict = judge(conditionsOf(request, "x-amz-copy-source-"), source);
  if (verdict !== "go on") throw preconditionFailed();
}

/** Refuses a change where the object is not as the client expects. */
export type Precondition = (current: ObjectMeta | undefined) => void;

/**
 * @param ifMatch ETag that the object must have; undefined for any
 * @param change an object that is missing cannot be replaced, but is deleted already
 * @returns the check
 */
export function etagPrecondition(
  ifMatch: string | undefined,
  change: "put" | "delete",
): Precondition {
  return (current) => {
    if (ifMatch === undefined) return;
    if (current === undefined) {
      if (change === "delete") return;
      throw new S3Error("NoSuchKey", "There is no such key");
    }
    if (!namesEtag(ifMatch, current.etag)) throw preconditionFailed();
  };
}

/**
 * @param request PUT, copy, DELETE, or the end of an upload
 * @param change what it does to the object
 * @returns what refuses the change where the object is not as the client expects
 */
export function putPrecondition(
  request: S3Request,
  change: "put" | "delete" = "put",
): Precondition {
  const hasEtag = etagPrecondition(request.headers.get("if-match"), change);
  const ifNoneMatch = request.headers.get("if-none-match");
  return (current) => {
    hasEtag(current);
    if (ifNoneMatch === undefined || current === undefined) return;
    if (namesEtag(ifNoneMatch, current.etag)) throw preconditionFailed();
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
