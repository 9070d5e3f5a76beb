/**
 * What the server's answers look like: headers that every answer carries, error texts without
 * anything of the host in them, and the timing header. Pure functions, so that each row of the
 * HTTP contract has one place.
 */

import { ERROR_RULES, type ErrorCode, type OlError } from "../common/errors.ts";
import {
  GUEST_MESSAGE_MAX_CHARS,
  RETRY_AFTER_BUSY_SEC,
  RETRY_AFTER_UNAVAILABLE_SEC,
} from "../common/limits.ts";
import type { CallTiming, RunOutcome, StartKind } from "../lambda/contract.ts";

/**
 * Cross-origin headers as the original sends them, and the names of our own headers, which a
 * browser's script could not read otherwise.
 *
 * @see upstream `go/worker/server/lambdaServer.go`, `RunLambda`
 */
const CORS_HEADERS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, PUT, POST, DELETE, OPTIONS",
  "access-control-allow-headers":
    "Content-Type, Content-Range, Content-Disposition, Content-Description, X-Requested-With, X-Request-Id",
  "access-control-expose-headers":
    "X-Request-Id, X-Ol-Start, X-Ol-Error, Server-Timing, Retry-After",
} as const;

const JSON_HEADERS = { "content-type": "application/json", ...CORS_HEADERS } as const;

const TEXT_HEADERS = {
  "content-type": "text/plain; charset=utf-8",
  // An error repeats what a lambda or a client said: no browser may take it for a page.
  "x-content-type-options": "nosniff",
  ...CORS_HEADERS,
} as const;

/**
 * Codes whose message is made for the caller: it tells about the request, the lambda's code or its
 * packages. Messages of all other codes may hold paths and addresses of the host, and stay in the log.
 */
const PUBLIC_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "bad_request",
  "route_unknown",
  "lambda_name_invalid",
  "lambda_unknown",
  "body_too_large",
  "queue_full",
  "pool_exhausted",
  "cancelled",
  "lambda_exception",
  "lambda_result_invalid",
  "lambda_load",
  "package_install",
  "bundle_invalid",
  "sandbox_died",
  "sandbox_out_of_memory",
  "sandbox_output_limit",
  "protocol_violation",
  "runtime_exceeded",
  "draining",
]);

/** How the original, and so this project, begins the answer to a body that is not JSON. */
const BAD_BODY_PREFIX = "bad POST data: ";

/**
 * @param error what went wrong
 * @param requestId lets the caller's report be found in the log
 * @returns the body of the answer: words for the caller, nothing of the host
 */
function errorText(error: OlError, requestId: string): string {
  if (!PUBLIC_CODES.has(error.code)) {
    return `Cannot run the lambda: the worker failed with "${error.code}", see its log for request ${requestId}\n`;
  }
  const text = clip(error.message, GUEST_MESSAGE_MAX_CHARS);
  const isBareBadBody = error.code === "bad_request" && !text.startsWith(BAD_BODY_PREFIX);
  return `${isBareBadBody ? BAD_BODY_PREFIX : ""}${text}${text.endsWith("\n") ? "" : "\n"}`;
}

/**
 * @param text any text
 * @param maxChars longest result
 * @returns it, or its beginning with a mark that something is missing
 */
export function clip(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 1)}…`;
}

/** Headers of an answer, before the runtime adds date and length. */
export type AnswerHeaders = Record<string, string>;

/**
 * @param error what went wrong
 * @param requestId echoed in `x-request-id`
 * @param extra further headers, such as `allow`
 * @returns the answer to a request that failed
 */
export function errorAnswer(error: OlError, requestId: string, extra?: AnswerHeaders): Response {
  return new Response(errorText(error, requestId), {
    status: error.rule.status,
    headers: errorHeaders(error, requestId, extra),
  });
}

function errorHeaders(error: OlError, requestId: string, extra?: AnswerHeaders): AnswerHeaders {
  const headers: AnswerHeaders = {
    ...TEXT_HEADERS,
    "x-ol-error": error.code,
    "x-request-id": requestId,
    ...extra,
  };
  const status = ERROR_RULES[error.code].status;
  if (status === 429) headers["retry-after"] = String(RETRY_AFTER_BUSY_SEC);
  if (status === 503) headers["retry-after"] = String(RETRY_AFTER_UNAVAILABLE_SEC);
  return headers;
}

/**
 * Headers of successful calls, made once: copying a `Headers` costs half of building one from an
 * object, and headers are most of what an answer costs here.
 */
const CALL_HEADERS: Readonly<Record<StartKind | "none", Headers>> = {
  warm: new Headers({ ...JSON_HEADERS, "x-ol-start": "warm" }),
  unpaused: new Headers({ ...JSON_HEADERS, "x-ol-start": "unpaused" }),
  zygote: new Headers({ ...JSON_HEADERS, "x-ol-start": "zygote" }),
  fresh: new Headers({ ...JSON_HEADERS, "x-ol-start": "fresh" }),
  none: new Headers(JSON_HEADERS),
};

/**
 * @param outcome of the lambda layer
 * @param requestId echoed in `x-request-id`
 * @returns the handler's value, or the error, with start kind and timing
 */
export function outcomeAnswer(outcome: RunOutcome, requestId: string): Response {
  const timing = serverTiming(outcome.timing);
  if (outcome.error !== null) {
    const extra: AnswerHeaders = { "server-timing": timing };
    if (outcome.start !== null) extra["x-ol-start"] = outcome.start;
    return errorAnswer(outcome.error, requestId, extra);
  }
  // A view of bytes is a body; the lib's type wants to know that its buffer is not shared.
  const body = outcome.body as Uint8Array<ArrayBuffer> | null;
  const answer = new Response(body, { headers: CALL_HEADERS[outcome.start ?? "none"] });
  answer.headers.append("x-request-id", requestId);
  answer.headers.append("server-timing", timing);
  return answer;
}

/**
 * @param body text
 * @param status default 200
 * @param extra further headers
 * @returns a plain-text answer with the headers that every answer carries
 */
export function textAnswer(body: string, status = 200, extra?: AnswerHeaders): Response {
  return new Response(body, { status, headers: { ...TEXT_HEADERS, ...extra } });
}

/**
 * @param value what JSON can hold
 * @returns it as a JSON answer that no cache keeps
 */
export function jsonAnswer(value: unknown): Response {
  const headers = { ...JSON_HEADERS, "cache-control": "no-store" };
  return new Response(`${JSON.stringify(value)}\n`, { headers });
}

/**
 * @param allow methods of the route, for the `allow` header
 * @returns the answer to `OPTIONS`: 200 with the cross-origin headers, as the original gives
 */
export function optionsAnswer(allow: string): Response {
  return new Response(null, { headers: { ...CORS_HEADERS, allow } });
}

/** "000" to "999": the decimals of a duration without a division per digit. */
const DECIMALS: readonly string[] = Array.from({ length: 1000 }, (_, n) => `${n}`.padStart(3, "0"));

/**
 * @param timing of one call
 * @returns it as a `server-timing` header: milliseconds with three decimals; `pull` and `install` only
 *   where code or packages were waited for
 * @see https://www.w3.org/TR/server-timing/
 */
export function serverTiming(timing: CallTiming): string {
  const pull = timing.pullUs > 0 ? `pull;dur=${asMs(timing.pullUs)}, ` : "";
  const install = timing.installUs > 0 ? `install;dur=${asMs(timing.installUs)}, ` : "";
  return (
    `queue;dur=${asMs(timing.queueUs)}, ${pull}${install}sandbox;dur=${asMs(timing.sandboxUs)}, ` +
    `import;dur=${asMs(timing.importUs)}, handler;dur=${asMs(timing.handlerUs)}, ` +
    `guest;dur=${asMs(timing.guestUs)}, total;dur=${asMs(timing.totalUs)}`
  );
}

function asMs(us: number): string {
  // The guest's word may be anything: negative, NaN, infinite.
  if (!(us > 0) || us === Infinity) return "0.000";
  const whole = Math.round(us);
  return `${Math.floor(whole / 1000)}.${DECIMALS[whole % 1000]}`;
}
