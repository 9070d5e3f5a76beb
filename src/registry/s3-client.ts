/**
 * Requests to an S3 store: signed in their headers, with conditions, statuses, time limits, retries.
 * Bun's own client is not used: it takes session tokens and more from the environment, although it is
 * given keys, and has neither conditions nor time limits.
 */

import { OlError } from "../common/errors.ts";
import {
  S3_DOCUMENT_MAX_BYTES,
  S3_ERROR_BODY_MAX_BYTES,
  S3_RETRY_PAUSE_MS,
  S3_SEND_MIN_BYTES_PER_SEC,
  S3_STALL_TIMEOUT_MS,
  S3_TRIES_MAX,
} from "../common/limits.ts";
import type { S3Address } from "./s3-address.ts";
import {
  ALGORITHM,
  awsEncode,
  awsEncodePath,
  EMPTY_SHA256,
  type Scope,
  scopeText,
  sha256Hex,
  signingKey,
  signRequest,
} from "./store/sigv4.ts";

/** Keys of an account. */
export interface S3Keys {
  readonly accessKey: string;
  readonly secretKey: string;
}

/** One request. */
export interface S3Call {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Object, empty for the bucket. */
  readonly key: string;
  readonly query?: readonly (readonly [string, string])[];
  /** Lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** In memory, so that it can be signed and sent again. */
  readonly body?: Uint8Array<ArrayBuffer>;
}

/** Fails after too long a silence; each `alive` starts it anew. */
export class StallGuard {
  readonly #controller = new AbortController();
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout>;

  /**
   * @param ms longest silence
   * @param firstMs the same until the first `alive`
   */
  constructor(ms: number, firstMs: number = ms) {
    this.#ms = ms;
    this.#timer = this.#start(firstMs);
  }

  #start(ms: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#controller.abort(new Error(`no answer for ${ms} ms`)), ms);
  }

  /** For `fetch`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something arrived. */
  alive(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#start(this.#ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** A connection-less client of one bucket. */
export class S3Requests {
  readonly address: S3Address;
  readonly #keys: S3Keys;
  readonly #stallMs: number;
  #region: string;

  /**
   * @param address endpoint and bucket
   * @param keys of the account
   * @param stallMs longest silence of the store in milliseconds
   */
  constructor(address: S3Address, keys: S3Keys, stallMs: number = S3_STALL_TIMEOUT_MS) {
    this.address = address;
    this.#keys = keys;
    this.#stallMs = stallMs;
    this.#region = address.region;
  }

  /**
   * Sends one request, again after failures that may pass, and hands its answer to `use` while the
   * guard against silence is running.
   *
   * @param call what to send
   * @param use reads the answer, which is one of success, 304, 404 or 412; what it throws other than
   *   an `OlError` is taken for a cut connection
   * @returns what `use` returns
   * @throws {OlError} registry_unavailable, registry_denied
   */
  async send<T>(
    call: S3Call,
    use: (response: Response, guard: StallGuard) => Promise<T> | T,
  ): Promise<T> {
    const sendingMs = ((call.body?.length ?? 0) / S3_SEND_MIN_BYTES_PER_SEC) * 1000;
    let moved = false;
    for (let attempt = 1; ; attempt++) {
      try {
        using guard = new StallGuard(this.#stallMs, this.#stallMs + sendingMs);
        const response = await this.#fetch(call, guard.signal);
        guard.alive();
        const { status } = response;
        if (status < 300 || status === 304 || status === 404 || status === 412) {
          return await use(response, guard);
        }
        const failure = await readFailure(response);
        if (!moved && failure.region !== null) {
          // Another region is responsible for the bucket, and says which.
          moved = true;
          this.#region = failure.region;
          continue;
        }
        throw refusal(status, failure.code);
      } catch (error) {
        const failure = error instanceof OlError ? error : unreachable(error);
        if (!failure.retryable || attempt >= S3_TRIES_MAX) throw failure;
        await Bun.sleep(S3_RETRY_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random()));
      }
    }
  }

  /**
   * Signed in the headers: an address that carries a signature is a key, and ends up in logs of proxies.
   */
  #fetch(call: S3Call, signal: AbortSignal): Promise<Response> {
    const { endpoint, bucket } = this.address;
    const { method, key, query = [], body } = call;
    const path = awsEncodePath(key === "" ? `/${bucket}` : `/${bucket}/${key}`);
    const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
    const scope: Scope = { time, region: this.#region, service: "s3" };
    const payloadHash = body === undefined ? EMPTY_SHA256 : sha256Hex(body);
    const headers: Record<string, string> = {
      ...call.headers,
      "x-amz-content-sha256": payloadHash,
      "x-amz-date": time,
    };
    const covered: Record<string, string> = { ...headers, host: new URL(endpoint).host };
    const signedHeaders = Object.keys(covered)
      .filter((name) => name === "host" || name.startsWith("x-amz-"))
      .toSorted();
    const signature = signRequest(signingKey(this.#keys.secretKey, scope), scope, {
      method,
      path,
      query,
      signedHeaders,
      header: (name) => covered[name] ?? null,
      payloadHash,
    });
    headers["authorization"] =
      `${ALGORITHM} Credential=${this.#keys.accessKey}/${scopeText(scope)}, ` +
      `SignedHeaders=${signedHeaders.join(";")}, Signature=${signature}`;
    const search = query.map((pair) => pair.map(awsEncode).join("=")).join("&");
    return fetch(endpoint + path + (search && `?${search}`), {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
      redirect: "manual",
      // The bytes as they are stored: the ETag and the digests are of those.
      decompress: false,
      signal,
    });
  }
}

/**
 * @param response with a document
 * @param guard told of each piece
 * @returns the root element as Bun's parser gives it, and its name
 * @throws {OlError} registry_unavailable where it is no XML, or too long
 */
export async function readDocument(
  response: Response,
  guard: StallGuard,
): Promise<{ readonly name: string; readonly root: unknown }> {
  const text = await readText(response, S3_DOCUMENT_MAX_BYTES, guard);
  try {
    if (/<!DOCTYPE/i.test(text)) throw new Error("DOCTYPE is not allowed");
    const document: Record<string, unknown> = Bun.XML.parse(text);
    const [name = "", root] = Object.entries(document)[0] ?? [];
    return { name, root };
  } catch (cause) {
    throw new OlError(
      "registry_unavailable",
      "Cannot use the registry: its S3 store sent something else than XML",
      { op: "registry.s3", cause },
    );
  }
}

async function readText(response: Response, maxBytes: number, guard?: StallGuard): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    guard?.alive();
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.length > maxBytes) break;
  }
  return text;
}

interface Failure {
  readonly code: string | null;
  readonly region: string | null;
}

async function readFailure(response: Response): Promise<Failure> {
  const text = await readText(response, S3_ERROR_BODY_MAX_BYTES);
  const code = /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(text)?.[1] ?? null;
  const named =
    response.headers.get("x-amz-bucket-region") ?? /<Region>([^<]{1,64})<\/Region>/.exec(text)?.[1];
  const wrongPlace =
    (response.status >= 300 && response.status < 400) ||
    (code?.startsWith("Authorization") ?? false);
  const region = wrongPlace && /^[a-z0-9-]{1,64}$/.test(named ?? "") ? (named ?? null) : null;
  return { code, region };
}

/**
 * @param status of the answer, or the one that its error document deserves
 * @param code of the error document, where there is one
 * @returns the failure
 */
export function refusal(status: number, code: string | null): OlError {
  if (status === 401 || status === 403) return denied(code);
  // A full store and one that cannot do a thing are the same a moment later.
  const lasting = status === 501 || status === 507;
  const retryable = (status >= 500 && !lasting) || status === 429 || status === 408;
  return new OlError(
    "registry_unavailable",
    `Cannot use the registry: its S3 store answered ${status}${code === null ? "" : ` ${code}`}`,
    { op: "registry.s3", details: { status, s3Code: code }, retryable },
  );
}

function denied(code: string | null): OlError {
  if (code === "RequestTimeTooSkewed") {
    return new OlError(
      "registry_denied",
      "Cannot use the registry: its S3 store has another time than this machine, set the clocks",
      { op: "registry.s3", details: { s3Code: code } },
    );
  }
  return new OlError(
    "registry_denied",
    `Cannot use the registry: its S3 store refused the keys${code === null ? "" : ` (${code})`}, ` +
      "check registry_access_key and registry_secret_key",
    { op: "registry.s3", details: { s3Code: code } },
  );
}

function unreachable(cause: unknown): OlError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new OlError(
    "registry_unavailable",
    "Cannot use the registry: its S3 store does not answer, wanted a store that runs",
    { op: "registry.s3", details: { why }, cause, retryable: true },
  );
}

/**
 * @param address of the store
 * @returns the failure where the store has no such bucket
 */
export function noBucket({ bucket }: S3Address): OlError {
  return new OlError(
    "registry_unavailable",
    `Cannot use the registry: its S3 store has no bucket "${bucket}", create it first`,
    { op: "registry.s3" },
  );
}
