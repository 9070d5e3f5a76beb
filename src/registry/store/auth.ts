/**
 * Decides whether a request comes from someone who holds the secret key, and how its body must be
 * checked while it is read. Nothing is looked up or touched on disk before this has said yes.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
 */

import { S3_CLOCK_SKEW_MAX_MS, S3_PRESIGN_MAX_SEC } from "../../common/limits.ts";
import { queryValue, type S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";
import { ALGORITHM, sameSecret, type Scope, signingKey, signRequest } from "./sigv4.ts";

/** The one account of the store. */
export interface Credentials {
  readonly accessKey: string;
  readonly secretKey: string;
}

/** How the body is bound to the signature. */
export type PayloadCheck =
  | { readonly kind: "unsigned" }
  | { readonly kind: "sha256"; readonly hex: string }
  | {
      readonly kind: "chunked";
      /** Null where the chunks carry no signatures. */
      readonly chain: {
        readonly key: Uint8Array;
        readonly scope: Scope;
        readonly seed: string;
      } | null;
      readonly trailers: boolean;
    };

interface Claim {
  readonly accessKey: string;
  readonly scope: Scope;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  readonly payloadHash: string;
  readonly query: readonly (readonly [string, string])[];
}

const TIME = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;
const SHA256_HEX = /^[0-9a-f]{64}$/;
const SIGNATURE_PARAMETER = "X-Amz-Signature";

/**
 * @param request taken apart
 * @param credentials the store's keys
 * @param nowMs milliseconds since 1970
 * @returns how the body must be checked
 * @throws {S3Error} AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch, RequestTimeTooSkewed, …
 */
export function authenticate(
  request: S3Request,
  credentials: Credentials,
  nowMs: number,
): PayloadCheck {
  const authorization = request.headers.get("authorization") ?? null;
  const presigned = queryValue(request, "X-Amz-Algorithm") !== undefined;
  if (authorization !== null && presigned) {
    throw new S3Error("InvalidArgument", "Only one way of signing a request may be used");
  }
  let claim: Claim;
  if (authorization !== null) claim = headerClaim(request, authorization, nowMs);
  else if (presigned) claim = presignedClaim(request, nowMs);
  else throw new S3Error("AccessDenied", "The request is not signed");

  if (!sameSecret(credentials.accessKey, claim.accessKey)) {
    throw new S3Error("InvalidAccessKeyId", "The access key is not known");
  }
  requireSignedHeaders(request, claim);
  const key = signingKey(credentials.secretKey, claim.scope);
  if (!signatureMatches(request, claim, key)) {
    throw new S3Error(
      "SignatureDoesNotMatch",
      "The signature does not match the request and the secret key",
    );
  }
  return payloadCheck(claim, key);
}

/** Clients differ in what they encode of a path; each spelling stands for the same decoded path. */
function signatureMatches(request: S3Request, claim: Claim, key: Uint8Array): boolean {
  return [request.canonicalPath, request.rawPath].some((path) =>
    sameSecret(
      signRequest(key, claim.scope, {
        method: request.method,
        path,
        query: claim.query,
        signedHeaders: claim.signedHeaders,
        header: (name) => request.headers.get(name) ?? null,
        payloadHash: claim.payloadHash,
      }),
      claim.signature,
    ),
  );
}

function headerMalformed(): S3Error {
  return new S3Error("AuthorizationHeaderMalformed", `Wanted ${ALGORITHM} with its three fields`);
}

function queryMalformed(why = "A parameter of the signature is missing or bad"): S3Error {
  return new S3Error("AuthorizationQueryParametersError", why);
}

function headerClaim(request: S3Request, authorization: string, nowMs: number): Claim {
  const malformed = headerMalformed;
  const [algorithm, ...rest] = authorization.split(" ");
  if (algorithm !== ALGORITHM) throw malformed();
  const fields = new Map<string, string>();
  for (const field of rest.join(" ").split(",")) {
    const equals = field.indexOf("=");
    if (equals === -1) throw malformed();
    const name = field.slice(0, equals).trim();
    if (fields.has(name)) throw malformed();
    fields.set(name, field.slice(equals + 1).trim());
  }
  const [credential, signedHeaders, signature] = ["Credential", "SignedHeaders", "Signature"].map(
    (name) => fields.get(name),
  );
  if (credential === undefined || signedHeaders === undefined || signature === undefined) {
    throw malformed();
  }
  const time = request.headers.get("x-amz-date") ?? "";
  const timeMs = parseTime(time);
  if (timeMs === null) throw new S3Error("AccessDenied", "The header x-amz-date is missing or bad");
  if (Math.abs(nowMs - timeMs) > S3_CLOCK_SKEW_MAX_MS) {
    throw new S3Error("RequestTimeTooSkewed", "The clocks of client and store differ too much");
  }
  const payloadHash = request.headers.get("x-amz-content-sha256");
  if (payloadHash === undefined) {
    throw new S3Error("InvalidRequest", "The header x-amz-content-sha256 is missing");
  }
  return {
    ...parseCredential(credential, time, malformed),
    signedHeaders: splitSigned(signedHeaders),
    signature,
    payloadHash,
    query: request.query,
  };
}

function presignedClaim(request: S3Request, nowMs: number): Claim {
  const malformed = queryMalformed;
  const names = request.query.map(([name]) => name);
  const parameter = (name: string): string => {
    const value = queryValue(request, name);
    if (value === undefined || names.indexOf(name) !== names.lastIndexOf(name)) throw malformed();
    return value;
  };
  if (parameter("X-Amz-Algorithm") !== ALGORITHM) throw malformed(`Wanted ${ALGORITHM}`);
  const time = parameter("X-Amz-Date");
  const timeMs = parseTime(time);
  const expires = parameter("X-Amz-Expires");
  const expiresSec = /^\d{1,7}$/.test(expires) ? Number(expires) : 0;
  if (timeMs === null) throw malformed("X-Amz-Date is not a time");
  if (expiresSec < 1 || expiresSec > S3_PRESIGN_MAX_SEC) {
    throw malformed(`X-Amz-Expires must be 1 to ${S3_PRESIGN_MAX_SEC} seconds`);
  }
  if (timeMs - nowMs > S3_CLOCK_SKEW_MAX_MS) {
    throw new S3Error("AccessDenied", "The request is not valid yet");
  }
  if (nowMs > timeMs + expiresSec * 1000) {
    throw new S3Error("AccessDenied", "Request has expired");
  }
  return {
    ...parseCredential(parameter("X-Amz-Credential"), time, malformed),
    signedHeaders: splitSigned(parameter("X-Amz-SignedHeaders")),
    signature: parameter(SIGNATURE_PARAMETER),
    payloadHash:
      queryValue(request, "X-Amz-Content-Sha256") ??
      request.headers.get("x-amz-content-sha256") ??
      "UNSIGNED-PAYLOAD",
    query: request.query.filter(([name]) => name !== SIGNATURE_PARAMETER),
  };
}

function parseCredential(
  text: string,
  time: string,
  malformed: () => S3Error,
): { readonly accessKey: string; readonly scope: Scope } {
  const parts = text.split("/");
  const [day, region, service, end] = parts.slice(-4);
  // An access key may hold slashes itself.
  const accessKey = parts.slice(0, -4).join("/");
  if (accessKey === "" || day !== time.slice(0, 8) || region === undefined || region === "") {
    throw malformed();
  }
  if (service !== "s3" || end !== "aws4_request") throw malformed();
  return { accessKey, scope: { time, region, service } };
}

function splitSigned(text: string): string[] {
  return text.split(";").map((name) => name.toLowerCase());
}

function parseTime(text: string): number | null {
  const [, year, month, day, hour, minute, second] = TIME.exec(text) ?? [];
  if (year === undefined) return null;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? null : ms;
}

/** What is not covered could be changed on the way, so `host` and all `x-amz-` headers must be. */
function requireSignedHeaders(request: S3Request, claim: Claim): void {
  const signed = new Set(claim.signedHeaders);
  if (!signed.has("host")) throw new S3Error("AccessDenied", "The header host is not signed");
  for (const name of request.headers.keys()) {
    if (!name.startsWith("x-amz-") || signed.has(name)) continue;
    // The hash is part of what is signed by itself.
    if (name === "x-amz-content-sha256") continue;
    throw new S3Error("AccessDenied", `The header ${name} is present and not signed`);
  }
}

function payloadCheck(claim: Claim, key: Uint8Array): PayloadCheck {
  const chain = { key, scope: claim.scope, seed: claim.signature };
  switch (claim.payloadHash) {
    case "UNSIGNED-PAYLOAD":
      return { kind: "unsigned" };
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
      return { kind: "chunked", chain, trailers: false };
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
      return { kind: "chunked", chain, trailers: true };
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
      return { kind: "chunked", chain: null, trailers: true };
    default:
      if (SHA256_HEX.test(claim.payloadHash)) return { kind: "sha256", hex: claim.payloadHash };
      throw new S3Error("InvalidArgument", "The value of x-amz-content-sha256 is not known");
  }
}
