/** The embedded store without HTTP, and requests to it as a client would sign them. */

import type { Clock } from "../../../src/common/clock.ts";
import type { Reply } from "../../../src/registry/store/reply.ts";
import type { WireRequest } from "../../../src/registry/store/request.ts";
import { createStore } from "../../../src/registry/store/server.ts";
import {
  awsEncode,
  awsEncodePath,
  type Scope,
  scopeText,
  sha256Hex,
  signingKey,
  signRequest,
} from "../../../src/registry/store/sigv4.ts";

/** Keys of the store's account. */
export const KEYS = { accessKey: "AK", secretKey: "SK" };

/** When requests are signed; also what the clock of `openStore` shows at first. */
export const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

/** The same, as a signature says it. */
export const SCOPE: Scope = { time: "20260102T030405Z", region: "us-east-1", service: "s3" };

/** A store and the clock that it sees. */
export interface TestStore {
  readonly handle: (wire: WireRequest) => Promise<Reply>;
  /** Milliseconds since 1970; a test may move it. */
  nowMs: number;
}

/**
 * @param dir of the store
 * @returns the store, with an empty bucket `registry`
 */
export function openStore(dir: string): TestStore {
  const store = { nowMs: NOW } as { -readonly [K in keyof TestStore]: TestStore[K] };
  const clock: Clock = { nowUs: () => 0, wallMs: () => store.nowMs };
  store.handle = createStore({ dir, credentials: KEYS, buckets: ["registry"], clock });
  return store;
}

/** A request before it is signed. */
export interface Draft {
  method?: string;
  path?: string;
  query?: [string, string][];
  body?: string | Uint8Array;
  payloadHash?: string;
  headers?: Record<string, string>;
  scope?: Scope;
  /** Changes the request after it was signed. */
  tamper?: (headers: Record<string, string>) => void;
}

/**
 * @param body of a request
 * @yields {Uint8Array} all of it
 */
export async function* once(body: string | Uint8Array): AsyncGenerator<Uint8Array> {
  yield Buffer.from(body as string);
}

/**
 * @param draft what differs from a PUT of nothing to `/registry/k`
 * @returns the request, signed in its headers
 */
export function signed(draft: Draft): WireRequest {
  const { method = "PUT", path = "/registry/k", query = [], body = "", scope = SCOPE } = draft;
  const payloadHash = draft.payloadHash ?? sha256Hex(body);
  const headers: Record<string, string> = {
    host: "localhost",
    "x-amz-date": scope.time,
    "x-amz-content-sha256": payloadHash,
    "content-length": String(Buffer.byteLength(body)),
    ...draft.headers,
  };
  const signedHeaders = Object.keys(headers)
    .filter((name) => name === "host" || name.startsWith("x-amz-"))
    .toSorted();
  const signature = signRequest(signingKey(KEYS.secretKey, scope), scope, {
    method,
    path: awsEncodePath(path),
    query,
    signedHeaders,
    header: (name) => headers[name] ?? null,
    payloadHash,
  });
  headers["authorization"] =
    `AWS4-HMAC-SHA256 Credential=AK/${scopeText(scope)}, ` +
    `SignedHeaders=${signedHeaders.join(";")}, Signature=${signature}`;
  draft.tamper?.(headers);
  const search = query.map(([name, value]) => `${awsEncode(name)}=${awsEncode(value)}`).join("&");
  return {
    method,
    target: awsEncodePath(path) + (search && `?${search}`),
    headers,
    body: once(body),
  };
}

/**
 * @param method of the request
 * @param path of the object or bucket
 * @param extra parameters in addition to the signature's, or in their place
 * @returns the request as a presigned URL of one minute
 */
export function presigned(
  method: string,
  path: string,
  extra: Readonly<Record<string, string>> = {},
): WireRequest {
  const query: [string, string][] = Object.entries({
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": `AK/${scopeText(SCOPE)}`,
    "X-Amz-Date": SCOPE.time,
    "X-Amz-Expires": "60",
    "X-Amz-SignedHeaders": "host",
    ...extra,
  });
  const scope = { ...SCOPE, time: extra["X-Amz-Date"] ?? SCOPE.time };
  const signature = signRequest(signingKey(KEYS.secretKey, scope), scope, {
    method,
    path: awsEncodePath(path),
    query,
    signedHeaders: ["host"],
    header: () => "localhost",
    payloadHash: "UNSIGNED-PAYLOAD",
  });
  const search = [...query, ["X-Amz-Signature", signature] as const]
    .map(([name, value]) => `${awsEncode(name)}=${awsEncode(value)}`)
    .join("&");
  return {
    method,
    target: `${awsEncodePath(path)}?${search}`,
    headers: { host: "localhost", "content-length": "0" },
    body: once(""),
  };
}

/**
 * @param reply of the store
 * @returns the code of its error document, or its status
 */
export function codeOf(reply: Reply): string {
  return /<Code>(\w+)<\/Code>/.exec(reply.body ?? "")?.[1] ?? String(reply.status);
}
