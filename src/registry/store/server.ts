/**
 * The embedded S3-compatible store as an HTTP server. It runs on `node:http` rather than on
 * `Bun.serve`, because signatures cover the request target as it was sent, which `Bun.serve`
 * normalises, and because S3 clients need a `content-length` on streamed answers.
 */

import { closeSync, read } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { type Clock, systemClock } from "../../common/clock.ts";
import { errnoNameOf, OlError } from "../../common/errors.ts";
import {
  STORE_DRAIN_MS,
  STORE_DROP_MAX_BYTES,
  STORE_DROP_SILENCE_MS,
  STORE_IDLE_TIMEOUT_SEC,
} from "../../common/limits.ts";
import { type Logger, silentLogger } from "../../common/log.ts";
import { authenticate, type Credentials } from "./auth.ts";
import { ObjectStore } from "./object-store.ts";
import type { Reply } from "./reply.ts";
import { parseRequest, type WireRequest } from "./request.ts";
import { dispatch } from "./routes.ts";
import { S3Error, xmlError } from "./s3-error.ts";
import { HEALTH_PATH } from "./settings.ts";
import { Uploads } from "./uploads.ts";

/** What a store is made of. */
export interface StoreOptions {
  /** Directory of the data; no other process may use it. */
  readonly dir: string;
  readonly credentials: Credentials;
  /** Buckets that are made at start. */
  readonly buckets: readonly string[];
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/** Where a store listens. */
export interface ListenOptions {
  readonly bind: string;
  /** 0: any free one. */
  readonly port: number;
}

/** A running store. */
export interface StoreServer {
  readonly url: string;
  readonly port: number;
  /** Ends requests in flight, at most `STORE_DRAIN_MS`, and stops. */
  stop(): Promise<void>;
}

const SEND_CHUNK_BYTES = 256 * 1024;
const readAsync = promisify(read);

/**
 * @param options directory, keys, buckets
 * @returns a function from request to answer, independent of HTTP
 */
export function createStore(options: StoreOptions): (wire: WireRequest) => Promise<Reply> {
  const clock = options.clock ?? systemClock;
  const logger = options.logger ?? silentLogger;
  const store = new ObjectStore(options.dir);
  for (const bucket of options.buckets) store.ensureBucket(bucket);
  const uploads = new Uploads(store, clock.wallMs());

  return async (wire) => {
    const requestId = crypto.randomUUID();
    const common = { "x-amz-request-id": requestId, server: "openlambda" };
    try {
      const request = parseRequest(wire);
      const nowMs = clock.wallMs();
      const check = authenticate(request, options.credentials, nowMs);
      const reply = await dispatch({ store, uploads, nowMs }, request, check);
      return { ...reply, headers: { ...common, ...reply.headers } };
    } catch (error) {
      const known = toS3Error(error);
      if (known.status >= 500)
        logger.limited("store.request", "error", "Request failed", { err: error });
      const headers = { ...common, "content-type": "application/xml" };
      return { status: known.status, headers, body: xmlError(known, wire.target, requestId) };
    }
  };
}

function toS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error;
  const errno = errnoNameOf(error);
  if (errno === "ENOSPC" || errno === "EDQUOT")
    return new S3Error("StorageFull", "The disk is full");
  if (errno === "EMFILE" || errno === "ENFILE") return new S3Error("SlowDown", "Too many requests");
  if (errno === "ECONNRESET" || errno === "ABORT_ERR") {
    return new S3Error("IncompleteBody", "The connection was closed within the body");
  }
  return new S3Error("InternalError", "The store failed");
}

/**
 * @param options directory, keys, buckets
 * @param listen address and port
 * @returns the running store
 * @throws {OlError} port_taken
 */
export async function serveStore(
  options: StoreOptions,
  listen: ListenOptions,
): Promise<StoreServer> {
  const handle = createStore(options);
  const logger = options.logger ?? silentLogger;
  const server = createServer(
    { requestTimeout: 0, keepAliveTimeout: 5_000 },
    (message, response) => {
      answer(handle, message, response, logger).catch((error: unknown) => {
        logger.limited("store.answer", "warn", "Answer was cut", { err: error });
        response.destroy();
      });
    },
  );
  server.timeout = STORE_IDLE_TIMEOUT_SEC * 1000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(listenError(error, listen)));
    server.listen(listen.port, listen.bind, () => resolve());
  });
  const { port } = server.address() as AddressInfo;
  const host = listen.bind.includes(":") ? `[${listen.bind}]` : listen.bind;
  return {
    url: `http://${host}:${port}`,
    port,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), STORE_DRAIN_MS);
      await closed;
      clearTimeout(timer);
    },
  };
}

function listenError(error: Error, listen: ListenOptions): OlError {
  const taken = errnoNameOf(error) === "EADDRINUSE";
  return new OlError(
    taken ? "port_taken" : "host_unsupported",
    `Cannot start the registry on ${listen.bind}:${listen.port}: ` +
      (taken ? "the port is in use, wanted a free one" : error.message),
    { op: "store.listen", cause: error },
  );
}

async function answer(
  handle: (wire: WireRequest) => Promise<Reply>,
  message: IncomingMessage,
  response: ServerResponse,
  logger: Logger,
): Promise<void> {
  const startedMs = performance.now();
  const method = message.method ?? "GET";
  const target = message.url ?? "/";
  if (target === HEALTH_PATH) {
    response.writeHead(200, { "content-length": "6" }).end("ready\n");
    return;
  }
  // A refusal in the middle of the body must not take the connection with it.
  const body = { [Symbol.asyncIterator]: () => message.iterator({ destroyOnReturn: false }) };
  const reply = await handle({ method, target, headers: message.headers, body });
  const isWhole = await dropRest(message);
  const fd = reply.file?.fd;
  try {
    const length = Buffer.byteLength(reply.body ?? "");
    const implied =
      reply.status === 204 || reply.status === 304 ? {} : { "content-length": length };
    const rest = isWhole ? {} : { connection: "close" };
    response.writeHead(reply.status, { ...implied, ...rest, ...reply.headers });
    if (reply.file !== undefined) await send(reply.file, response);
    response.end(method === "HEAD" ? undefined : reply.body);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  logger.info("Request", {
    op: "store.request",
    method,
    target: target.split("?", 1)[0],
    status: reply.status,
    durationMs: performance.now() - startedMs,
  });
}

/**
 * Reads what is left of a refused body. Many clients read no answer before they have sent all: closed
 * early, they would report a broken connection rather than the reason.
 * @returns whether the body has come to its end; otherwise it is too long, or the client has stopped
 */
function dropRest(message: IncomingMessage): Promise<boolean> {
  const announced = message.headers["content-length"];
  const hasBody = announced !== undefined || message.headers["transfer-encoding"] !== undefined;
  if (message.complete || !hasBody) return Promise.resolve(true);
  if (Number(announced ?? 0) > STORE_DROP_MAX_BYTES) return Promise.resolve(false);
  return new Promise((resolve) => {
    let droppedBytes = 0;
    const finish = (): void => {
      clearTimeout(silence);
      message.off("data", onData);
      message.pause();
      resolve(message.complete);
    };
    const silence = setTimeout(finish, STORE_DROP_SILENCE_MS);
    const onData = (chunk: Uint8Array): void => {
      silence.refresh();
      droppedBytes += chunk.length;
      if (droppedBytes > STORE_DROP_MAX_BYTES) finish();
    };
    message.on("data", onData);
    for (const event of ["end", "close", "error"]) message.once(event, finish);
    message.resume();
  });
}

async function send(file: NonNullable<Reply["file"]>, response: ServerResponse): Promise<void> {
  const { start, length } = file.range;
  for (let sent = 0; sent < length;) {
    const buffer = new Uint8Array(Math.min(SEND_CHUNK_BYTES, length - sent));
    const { bytesRead } = await readAsync(file.fd, buffer, 0, buffer.length, start + sent);
    if (bytesRead === 0 || response.destroyed) throw new Error("The answer cannot be completed");
    sent += bytesRead;
    if (!response.write(buffer.subarray(0, bytesRead))) await drained(response);
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (closed: boolean): void => {
      response.off("drain", onDrain);
      response.off("close", onClose);
      if (closed) reject(new Error("The client has gone"));
      else resolve();
    };
    const onDrain = (): void => finish(false);
    const onClose = (): void => finish(true);
    response.on("drain", onDrain);
    response.on("close", onClose);
  });
}
