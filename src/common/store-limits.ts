/** The part of `limits.ts` that is about S3: the client of remote registries (`S3_`), the store (`STORE_`). */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Tries of one request to an S3 store (connection cut, 5xx). */
export const S3_TRIES_MAX = 3;

/** First pause between two tries in milliseconds; doubles each time. */
export const S3_RETRY_PAUSE_MS = 50;

/** How long an S3 store may take until its answer starts, and between two pieces of it, in milliseconds. */
export const S3_STALL_TIMEOUT_MS = 10_000;

/** Largest error document of an S3 store that is read, in bytes. */
export const S3_ERROR_BODY_MAX_BYTES = 64 * KIB;

/** Largest document of an S3 store that is read (a page of 1,000 keys), in bytes. */
export const S3_DOCUMENT_MAX_BYTES = 8 * MIB;

/** Pages of a listing that are read: a million keys, as stores send them. */
export const S3_LISTING_PAGES_MAX = 1_000;

/** Slowest uplink that an upload gets along with, in bytes per second. */
export const S3_SEND_MIN_BYTES_PER_SEC = 64 * KIB;

/** Names without a version whose last answer a remote registry remembers for `registry_cache_ms`. */
export const S3_UNKNOWN_NAMES_MAX = 1_000;

/** Bundles from this size on are sent in parts, with progress, in bytes. */
export const S3_MULTIPART_FROM_BYTES = 16 * MIB;

/** Difference between a client's clock and the store's that a signature survives, in milliseconds (AWS: 15 min). */
export const S3_CLOCK_SKEW_MAX_MS = 15 * 60_000;

/** Longest life of a presigned URL in seconds (AWS: 7 days). */
export const S3_PRESIGN_MAX_SEC = 7 * 24 * 3600;

/** Largest object of the embedded store in bytes (S3: 5 GiB for one PUT). */
export const STORE_OBJECT_MAX_BYTES = 5 * 1024 * MIB;

/** Longest object key in bytes of UTF-8 (S3). */
export const STORE_KEY_MAX_BYTES = 1_024;

/** Metadata kept with an object, in characters of names and values. */
export const STORE_METADATA_MAX_CHARS = 8 * KIB;

/** Largest XML document that a client may send to the store, in bytes (1,000 keys of 1 KiB, escaped). */
export const STORE_XML_MAX_BYTES = 2 * MIB;

/** Most keys of one DeleteObjects request and of one page of a listing (S3). */
export const STORE_PAGE_MAX_KEYS = 1_000;

/** Highest part number of a multipart upload (S3). */
export const STORE_PARTS_MAX = 10_000;

/** Uploads begun and neither completed nor aborted at one time. */
export const STORE_UPLOADS_MAX = 1_000;

/** Finished uploads that the store remembers, so that a repeated request gets the same answer. */
export const STORE_FINISHED_UPLOADS_MAX = 1_000;

/** Age at which an unfinished multipart upload is dropped, in milliseconds. */
export const STORE_UPLOAD_AGE_MAX_MS = 24 * 3600_000;

/** Longest line of an `aws-chunked` body (chunk header or trailer) in bytes. */
export const STORE_CHUNK_LINE_MAX_BYTES = 4 * KIB;

/** Seconds of silence after which the store closes a connection. */
export const STORE_IDLE_TIMEOUT_SEC = 60;

/** Rest of a refused body that the store reads and drops, so that the client gets to read why, in bytes. */
export const STORE_DROP_MAX_BYTES = 128 * MIB;

/** Silence after which it takes a client to have stopped sending a refused body, in milliseconds. */
export const STORE_DROP_SILENCE_MS = 500;

/** How long a stopping store waits for requests in flight, in milliseconds; less than `kill` waits for it. */
export const STORE_DRAIN_MS = 4_000;

/** How long `registry` waits for the store to answer, in milliseconds. */
export const STORE_READY_TIMEOUT_MS = 10_000;
