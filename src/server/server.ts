/**
 * The worker's HTTP server: the socket, its limits and its end. Routes are in `app.ts`. It knows the
 * lambda layer's contract and nothing below.
 */

import { errnoNameOf, OlError } from "../common/errors.ts";
import { newRequestId } from "../common/ids.ts";
import {
  HTTP_FLUSH_TIMEOUT_MS,
  HTTP_IDLE_TIMEOUT_SEC,
  RETIRE_POLL_INTERVAL_MS,
  RETIRE_QUIET_MS,
} from "../common/limits.ts";
import type { Logger } from "../common/log.ts";
import type { Config } from "../config/config.ts";
import type { LambdaService } from "../lambda/contract.ts";
import { errorAnswer, textAnswer } from "./answers.ts";
import { createApp } from "./app.ts";
import { type CallRecord, RunRoute } from "./run.ts";

/** What a server is made of. */
export interface ServerOptions {
  readonly config: Pick<Config, "bind" | "workerPort" | "bodyMaxBytes" | "timing">;
  readonly service: LambdaService;
  readonly log: Logger;
  /** Told about each call after it ended; must be quick and must not throw. */
  readonly onCall?: (record: CallRecord) => void;
  /**
   * Whether others of ours may listen on the same port: `no` (the default), `later` where a
   * successor may, `now` where this server is the successor of one that listens there.
   */
  readonly sharePort?: "no" | "later" | "now";
}

/** A listening server. */
export interface RunningServer {
  readonly port: number;
  /**
   * Goes on answering, but closes each connection with its answer, until nobody asks any more: for
   * a server whose port a successor has. Clients lose nothing, as theirs is to connect anew.
   * @param boundMs how long at most, in milliseconds
   */
  retire(boundMs: number): Promise<void>;
  /**
   * Stops listening, waits for the calls in flight and for their answers to be read, then closes
   * what is left; idempotent.
   */
  stop(): Promise<void>;
}

/**
 * Names and addresses that a URL can hold. Anything else in `Host` would shift where the path of
 * the request's URL begins, and so which route is run.
 */
const HOST = /^(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/** The body limit is ours (`body.ts`), because the runtime's own 413 has no headers and no words. */
const RUNTIME_BODY_MAX_BYTES = Number.MAX_SAFE_INTEGER;

/**
 * @param options configuration, lambda layer, log
 * @returns the server, listening
 * @throws {OlError} port_taken, usage (the address is not one of this host)
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config, service, log } = options;
  const runRoute = new RunRoute({
    service,
    log,
    bodyMaxBytes: config.bodyMaxBytes,
    onCall: callObserver(options),
    // Bodies and idle connections have a time limit; a lambda's own is `runtime_sec`, kept elsewhere.
    setPatience: (request, isPatient) =>
      server.timeout(request, isPatient ? 0 : HTTP_IDLE_TIMEOUT_SEC),
  });
  const app = createApp({ service, runRoute, log });
  let goodHost = "localhost";
  let requests = 0;
  let isRetiring = false;
  const answer = (request: Request): Response | Promise<Response> => {
    const host = request.headers.get("host");
    if (host !== null && host !== goodHost) {
      if (!HOST.test(host)) return hostAnswer();
      goodHost = host;
    }
    return app(request);
  };
  const server = listen(options, (request) => {
    requests += 1;
    return isRetiring ? lastAnswer(answer(request)) : answer(request);
  });
  let stopped: Promise<void> | null = null;
  return {
    port: server.port ?? config.workerPort,
    retire: async (boundMs) => {
      isRetiring = true;
      await untilQuiet(
        () => requests,
        () => server.pendingRequests,
        boundMs,
      );
    },
    stop: () => (stopped ??= stopServer(server, runRoute)),
  };
}

/** Makes an answer the last one of its connection, also where it is found while retiring. */
async function lastAnswer(answer: Response | Promise<Response>): Promise<Response> {
  const response = await answer;
  response.headers.set("connection", "close");
  return response;
}

/** Waits until no call runs and no new one has come for a while. */
async function untilQuiet(
  countRequests: () => number,
  countPending: () => number,
  boundMs: number,
): Promise<void> {
  const deadlineMs = performance.now() + boundMs;
  let seen = countRequests();
  let quietSinceMs = performance.now();
  for (;;) {
    await Bun.sleep(RETIRE_POLL_INTERVAL_MS);
    const nowMs = performance.now();
    if (nowMs >= deadlineMs) return;
    const now = countRequests();
    if (now !== seen || countPending() > 0) {
      seen = now;
      quietSinceMs = nowMs;
    } else if (nowMs - quietSinceMs >= RETIRE_QUIET_MS) return;
  }
}

/** Sockets that share a port do not see each other: whether one is there is asked without sharing. */
function refuseTakenPort({ bind, workerPort }: ServerOptions["config"]): void {
  if (workerPort === 0) return;
  Bun.listen({ hostname: bind, port: workerPort, socket: { data: () => {} } }).stop(true);
}

function listen(
  { config, log, sharePort = "no" }: ServerOptions,
  fetch: (request: Request) => Response | Promise<Response>,
): Bun.Server<undefined> {
  try {
    if (sharePort === "later") refuseTakenPort(config);
    return Bun.serve({
      hostname: config.bind,
      port: config.workerPort,
      reusePort: sharePort !== "no",
      // Bun's development mode answers failures with sources; compiled programs have it on.
      development: false,
      idleTimeout: HTTP_IDLE_TIMEOUT_SEC,
      maxRequestBodySize: RUNTIME_BODY_MAX_BYTES,
      fetch,
      error: (error) => {
        const requestId = newRequestId();
        log.limited("server.listen", "error", "Request failed", { requestId, err: error });
        return errorAnswer(new OlError("internal", "Cannot answer", { cause: error }), requestId);
      },
    });
  } catch (cause) {
    throw listenError(config, cause);
  }
}

function listenError({ bind, workerPort }: ServerOptions["config"], cause: unknown): OlError {
  const address = `${bind}:${workerPort}`;
  const details = { bind, port: workerPort };
  const errno = errnoNameOf(cause);
  if (errno === "EADDRINUSE") {
    const message = `Cannot listen on ${address}: the port is taken, stop what uses it or choose another worker_port`;
    return new OlError("port_taken", message, { op: "server.listen", details, cause });
  }
  const reason = errno ?? (cause instanceof Error ? cause.message : String(cause));
  const message = `Cannot listen on ${address}: ${reason}, wanted an address of this host and a free port`;
  return new OlError("worker_start", message, { op: "server.listen", details, cause });
}

function hostAnswer(): Response {
  const text =
    "Cannot answer the request: its Host header is not a name or address with an optional port\n";
  return textAnswer(text, 400, { "x-ol-error": "bad_request", "x-request-id": newRequestId() });
}

/** `timing` of the configuration: the stages of each call, in the log. */
function callObserver({
  config,
  log,
  onCall,
}: ServerOptions): ((record: CallRecord) => void) | null {
  if (!config.timing) return onCall ?? null;
  return (record) => {
    const { start, timing, error } = record.outcome;
    log.info("Call", {
      op: "server.run",
      lambda: record.lambda,
      requestId: record.requestId,
      start,
      ...timing,
      ...record.outcome.usage,
      ...(error === null ? {} : { code: error.code }),
    });
    onCall?.(record);
  };
}

async function stopServer(server: Bun.Server<undefined>, runRoute: RunRoute): Promise<void> {
  const closed = server.stop();
  await runRoute.idle();
  // A client that never ends its request, or never reads, must not hold the worker.
  const timer = Promise.withResolvers<void>();
  const handle = setTimeout(timer.resolve, HTTP_FLUSH_TIMEOUT_MS);
  await Promise.race([closed, timer.promise]);
  clearTimeout(handle);
  await server.stop(true);
}
