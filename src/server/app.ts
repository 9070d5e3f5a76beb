/** The routes and methods of a worker, as an Elysia application without a socket. */

import { Elysia } from "elysia";
import { OlError } from "../common/errors.ts";
import { newRequestId } from "../common/ids.ts";
import { RETRY_AFTER_UNAVAILABLE_SEC } from "../common/limits.ts";
import type { Logger } from "../common/log.ts";
import type { LambdaService } from "../lambda/contract.ts";
import { errorAnswer, jsonAnswer, optionsAnswer, textAnswer } from "./answers.ts";
import type { RunRoute } from "./run.ts";

/** What the application needs. */
export interface AppOptions {
  readonly service: LambdaService;
  readonly runRoute: RunRoute;
  readonly log: Logger;
}

/** Answers one request; rejects only when something is wrong with the server itself. */
export type FetchHandler = (request: Request) => Response | Promise<Response>;

const RUN_METHODS = "POST, OPTIONS";
const READ_METHODS = "GET, HEAD, OPTIONS";

/**
 * Bodies are left alone (`parse: "none"`): the guest checks the JSON, the worker passes bytes.
 *
 * @param options service and run route
 * @returns the application's fetch handler; the `Host` header must have been checked before
 */
export function createApp(options: AppOptions): FetchHandler {
  const { service, runRoute, log } = options;
  // Without this option the path is cut from a fixed index of the URL, which a short host shifts.
  const app = new Elysia({ handler: { standardHostname: false } });

  for (const path of ["/runLambda/:name", "/run/:name"] as const) {
    app.post(path, ({ request, params }) => runRoute.handle(request, params.name), {
      parse: "none",
    });
    app.options(path, () => optionsAnswer(RUN_METHODS));
    app.all(path, ({ request }) => methodAnswer(request, RUN_METHODS), { parse: "none" });
  }

  const reads: Readonly<Record<string, FetchHandler>> = {
    "/status": () => statusAnswer(service),
    "/stats": () => jsonAnswer(service.stats()),
    "/metrics": () => metricsAnswer(service),
  };
  for (const [path, answer] of Object.entries(reads)) {
    app.get(path, ({ request }) => answer(request));
    app.head(path, ({ request }) => answer(request));
    app.options(path, () => optionsAnswer(READ_METHODS));
    app.all(path, ({ request }) => methodAnswer(request, READ_METHODS), { parse: "none" });
  }

  app.onError(({ code, error, request }) => {
    if (code === "NOT_FOUND") return routeAnswer(request);
    const requestId = newRequestId();
    log.limited("server.app", "error", "Request failed", {
      op: "server.app",
      requestId,
      err: error,
    });
    return errorAnswer(
      new OlError("internal", "Cannot answer the request", { cause: error }),
      requestId,
    );
  });
  return (request) => app.fetch(request);
}

function statusAnswer(service: LambdaService): Response {
  if (!service.draining) return textAnswer("ready\n");
  return textAnswer("draining\n", 503, { "retry-after": `${RETRY_AFTER_UNAVAILABLE_SEC}` });
}

async function metricsAnswer(service: LambdaService): Promise<Response> {
  // The Prometheus library is loaded by the first scrape: most workers are never scraped.
  const { renderMetrics } = await import("./metrics.ts");
  const { contentType, text } = await renderMetrics(service.stats());
  return textAnswer(text, 200, { "content-type": contentType });
}

function methodAnswer(request: Request, allow: string): Response {
  const text = `Cannot ${request.method} this path: it takes ${allow}\n`;
  return textAnswer(text, 405, { allow, "x-ol-error": "method_not_allowed" });
}

function routeAnswer(request: Request): Response {
  const message =
    `Cannot ${request.method} this path: a worker has POST /runLambda/<NAME>, ` +
    "GET /status, GET /stats and GET /metrics";
  return errorAnswer(new OlError("route_unknown", message), newRequestId());
}
