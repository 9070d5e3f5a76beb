/**
 * Requests to an S3 store with what Bun's own client does not offer: conditions, statuses, time
 * limits, retries. Bun's client signs them (as presigned URLs) and does the listing.
 */

import { OlError } from "../common/errors.ts";
import {
  S3_ERROR_BODY_MAX_BYTES,
  S3_RETRY_PAUSE_MS,
  S3_STALL_TIMEOUT_MS,
  S3_TRIES_MAX,
} from "../common/limits.ts";
import type { S3Address } from "./s3-address.ts";

/** Keys of an account. */
export interface S3Keys {
  readonly accessKey: string;
  readonly secretKey: string;
}

/** Methods that are used. */
export type S3Method = "GET" | "HEAD" | "PUT" | "DELETE";

/** Life of a presigned URL: one request, with room for clocks that differ. */
const SIGNED_FOR_SEC = 3600;

/** Fails after too long a silence; each `alive` starts it anew. */
export class StallGuard {
  readonly #controller = new AbortController();
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout>;

  /** @param ms longest silence */
  constructor(ms: number) {
    this.#ms = ms;
    this.#timer = this.#start();
  }

  #start(): ReturnType<typeof setTimeout> {
    return setTimeout(
      () => this.#controller.abort(new Error(`no answer for ${this.#ms} ms`)),
      this.#ms,
    );
  }

  /** For `fetch`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something arrived. */
  alive(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#start();
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
  #bun: Bun.S3Client;

  /**
   * @param address endpoint and bucket
   * @param keys of the account
   * @param stallMs longest silence of the store in milliseconds
   */
  constructor(address: S3Address, keys: S3Keys, stallMs: number = S3_STALL_TIMEOUT_MS) {
    this.address = address;
    this.#keys = keys;
    this.#stallMs = stallMs;
    this.#bun = this.#client(address.region);
  }

  #client(region: string): Bun.S3Client {
    return new Bun.S3Client({
      endpoint: this.address.endpoint,
      bucket: this.address.bucket,
      region,
      accessKeyId: this.#keys.accessKey,
      secretAccessKey: this.#keys.secretKey,
    });
  }

  /** Bun's client, for listings and uploads in parts. */
  get bun(): Bun.S3Client {
    return this.#bun;
  }

  /**
   * Sends one request, again after failures that may pass, and hands its answer to `use` while the
   * guard against silence is running.
   *
   * @param method HTTP method
   * @param key object, empty for the bucket
   * @param init headers and body
   * @param use reads the answer; what it throws other than an `OlError` is taken for a cut connection
   * @returns what `use` returns
   * @throws {OlError} registry_unavailable, registry_denied
   */
  async send<T>(
    method: S3Method,
    key: string,
    init: { readonly headers?: Record<string, string>; readonly body?: Blob },
    use: (response: Response, guard: StallGuard) => Promise<T> | T,
  ): Promise<T> {
    let moved = false;
    for (let attempt = 1; ; attempt++) {
      try {
        using guard = new StallGuard(this.#stallMs);
        const response = await fetch(this.#sign(method, key), {
          method,
          ...init,
          redirect: "manual",
          signal: guard.signal,
        });
        const { status } = response;
        if (status < 400 || status === 404 || status === 412) {
          if (status < 300 || status >= 400 || status === 304) return await use(response, guard);
        }
        const failure = await readFailure(response);
        if (!moved && failure.region !== null) {
          // Another region is responsible for the bucket, and says which.
          moved = true;
          this.#bun = this.#client(failure.region);
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

  #sign(method: S3Method, key: string): string {
    return this.#bun.presign(key, { method, expiresIn: SIGNED_FOR_SEC });
  }

  /**
   * @param step uses Bun's client
   * @returns what it returns
   * @throws {OlError} registry_unavailable, registry_denied
   */
  async viaBun<T>(step: (client: Bun.S3Client) => Promise<T>): Promise<T> {
    try {
      return await step(this.#bun);
    } catch (error) {
      if (error instanceof OlError) throw error;
      const code = (error as { code?: unknown } | null)?.code;
      throw typeof code === "string" && DENIALS.has(code) ? denied(code) : unreachable(error);
    }
  }
}

const DENIALS: ReadonlySet<string> = new Set([
  "AccessDenied",
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
  "RequestTimeTooSkewed",
  "ExpiredToken",
  "InvalidToken",
]);

interface Failure {
  readonly code: string | null;
  readonly region: string | null;
}

async function readFailure(response: Response): Promise<Failure> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.length > S3_ERROR_BODY_MAX_BYTES) break;
  }
  const code = /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(text)?.[1] ?? null;
  const named =
    response.headers.get("x-amz-bucket-region") ?? /<Region>([^<]{1,64})<\/Region>/.exec(text)?.[1];
  const wrongPlace =
    (response.status >= 300 && response.status < 400) ||
    (code?.startsWith("Authorization") ?? false);
  const region = wrongPlace && /^[a-z0-9-]{1,64}$/.test(named ?? "") ? (named ?? null) : null;
  return { code, region };
}

function refusal(status: number, code: string | null): OlError {
  if (status === 401 || status === 403) return denied(code);
  const retryable = status >= 500 || status === 429 || status === 408;
  return new OlError(
    "registry_unavailable",
    `Cannot use the registry: its S3 store answered ${status}${code === null ? "" : ` ${code}`}`,
    { op: "registry.s3", details: { status, s3Code: code }, retryable },
  );
}

function denied(code: string | null): OlError {
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
