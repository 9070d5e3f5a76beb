/** Identifiers that are handed to clients; cheap enough for every call. */

import { REQUEST_ID_MAX_CHARS } from "./limits.ts";

/** Visible ASCII without the characters that would need quoting in a header, a log line or a shell. */
const REQUEST_ID = /^[A-Za-z0-9._:/+=@-]+$/;

/**
 * @returns a fresh request id: a UUID version 7, so that ids sort by time across workers
 */
export function newRequestId(): string {
  return Bun.randomUUIDv7();
}

/**
 * Takes the caller's request id where it can be repeated safely in headers, logs and files.
 *
 * @param candidate value of the caller's `x-request-id`, or null
 * @returns it when it is 1 to `REQUEST_ID_MAX_CHARS` characters of a harmless alphabet, else a fresh one
 */
export function requestIdFrom(candidate: string | null): string {
  if (candidate === null || candidate.length > REQUEST_ID_MAX_CHARS) return newRequestId();
  return REQUEST_ID.test(candidate) ? candidate : newRequestId();
}
