/**
 * The `x-amz-` headers of a request. Each changes what is asked for, so a route lists those that it
 * keeps to, and any other is refused. SDKs that presign a URL put headers into its query; there they
 * mean the same, and are brought back before anything looks at headers.
 */

import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";

/** Parameters of the signature itself; they stay in the query. */
const OF_SIGNATURE: ReadonlySet<string> = new Set([
  "x-amz-algorithm",
  "x-amz-content-sha256",
  "x-amz-credential",
  "x-amz-date",
  "x-amz-expires",
  "x-amz-security-token",
  "x-amz-signature",
  "x-amz-signedheaders",
]);

/** Headers with the values that are taken; null takes any. */
export type HeaderRules = Readonly<Record<string, readonly string[] | null>>;

/** They describe the client or the wire, not what is wanted. */
const ON_ANY_ROUTE: HeaderRules = {
  "x-amz-content-sha256": null,
  "x-amz-date": null,
  "x-amz-decoded-content-length": null,
  "x-amz-sdk-checksum-algorithm": null,
  // Whoever signs with the secret key has proven enough; there are no temporary keys here.
  "x-amz-security-token": null,
  "x-amz-trailer": null,
  "x-amz-user-agent": null,
};

const CHECKSUMS: HeaderRules = {
  "x-amz-checksum-crc32": null,
  "x-amz-checksum-crc32c": null,
  "x-amz-checksum-crc64nvme": null,
  "x-amz-checksum-sha1": null,
  "x-amz-checksum-sha256": null,
};

const CREATED: HeaderRules = {
  "x-amz-acl": ["private", "bucket-owner-full-control"],
  "x-amz-checksum-algorithm": null,
  "x-amz-meta-": null,
  "x-amz-storage-class": ["STANDARD"],
};

/** What each kind of route keeps to; a name that ends with a dash stands for all that begin so. */
export const HEADER_RULES = {
  none: {},
  /** Reading: checksums are not kept, so none can be given back. */
  read: { "x-amz-checksum-mode": null },
  xml: CHECKSUMS,
  createBucket: {
    "x-amz-acl": ["private"],
    "x-amz-bucket-object-lock-enabled": ["false"],
    "x-amz-object-ownership": null,
  },
  put: { ...CREATED, ...CHECKSUMS },
  copy: {
    ...CREATED,
    "x-amz-copy-source": null,
    "x-amz-copy-source-if-match": null,
    "x-amz-copy-source-if-modified-since": null,
    "x-amz-copy-source-if-none-match": null,
    "x-amz-copy-source-if-unmodified-since": null,
    "x-amz-metadata-directive": null,
    // There are no tags: copied and replaced by none, they are none.
    "x-amz-tagging-directive": ["COPY", "REPLACE"],
  },
  createUpload: { ...CREATED, "x-amz-checksum-type": ["FULL_OBJECT", "COMPOSITE"] },
  uploadPart: CHECKSUMS,
  completeUpload: {
    ...CHECKSUMS,
    "x-amz-checksum-type": ["FULL_OBJECT", "COMPOSITE"],
    "x-amz-mp-object-size": null,
  },
} as const satisfies Record<string, HeaderRules>;

/**
 * @param request that was authenticated: its query is signed
 * @returns it with the headers that its query carries among its headers
 * @throws {S3Error} InvalidArgument where one is there twice
 */
export function withHeadersOfQuery(request: S3Request): S3Request {
  const headers = new Map(request.headers);
  const query = request.query.filter(([parameter, value]) => {
    const name = parameter.toLowerCase();
    if (!name.startsWith("x-amz-") || OF_SIGNATURE.has(name)) return true;
    if (headers.has(name)) throw new S3Error("InvalidArgument", `There are two values of ${name}`);
    headers.set(name, value);
    return false;
  });
  return { ...request, headers, query };
}

/**
 * @param request with all its headers
 * @param rules of its route
 * @throws {S3Error} NotImplemented
 */
export function refuseUnknownHeaders(request: S3Request, rules: HeaderRules): void {
  for (const [name, value] of request.headers) {
    if (!name.startsWith("x-amz-")) continue;
    const rule = name.startsWith("x-amz-meta-") ? "x-amz-meta-" : name;
    const taken = Object.hasOwn(rules, rule) ? rules[rule] : ON_ANY_ROUTE[rule];
    if (taken === null || taken?.includes(value) === true) continue;
    throw new S3Error("NotImplemented", `This store has nothing that ${name} could ask for`);
  }
}
