/**
 * The route that runs a lambda: from an HTTP request to a `RunRequest` and back. The only hot path
 * of the server: what it does per call is counted in nanoseconds.
 */

import { OlError, toOlError } from "../common/errors.ts";
import { requestIdFrom } from "../common/ids.ts";
import { BODIES_MAX_BYTES } from "../common/limits.ts";
import type { LogFields, Logger } from "../common/log.ts";
import { requireLambdaName } from "../common/names.ts";
import type { LambdaService, RunOutcome, RunRequest } from "../lambda/contract.ts";
import { type AnswerHeaders, clip, errorAnswer, outcomeAnswer } from "./answers.ts";
import { BodyBudget, type BodyLimits, readBody } from "./body.ts";

/** One finished call, for logs and benchmarks. */
export interface CallRecord {
  readonly lambda: string;
  readonly requestId: string;
  readonly outcome: RunOutcome;
}

/** What the route needs. */
export interface RunRouteOptions {
  readonly service: LambdaService;
  readonly log: Logger;
  readonly bodyMaxBytes: number;
  /** Told about each call that reached the lambda layer, after it ended. */
  readonly onCall: ((record: CallRecord) => void) | null;
  /** Called around the time in which a silent connection is no sign of a lost client. */
  readonly setPatience: (request: Request, isPatient: boolean) => void;
}

/** Longest text of a lambda's or client's that goes into a log line, in characters. */
const LOGGED_REASON_MAX_CHARS = 300;

/** `POST /run/<NAME>`; counts what is in flight, so that a stop can wait for it. */
export class RunRoute {
  readonly #options: RunRouteOptions;
  readonly #bodies: BodyLimits;
  #inFlight = 0;
  #onIdle: (() => void)[] = [];

  constructor(options: RunRouteOptions) {
    this.#options = options;
    this.#bodies = { maxBytes: options.bodyMaxBytes, budget: new BodyBudget(BODIES_MAX_BYTES) };
  }

  /** Calls that were accepted and are not answered yet. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** @returns a promise that settles once no call is in flight */
  idle(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /**
   * @param request its body is consumed
   * @param name path segment after decoding; null where it could not be decoded
   * @returns the answer; never rejects
   */
  async handle(request: Request, name: string | null): Promise<Response> {
    const requestId = requestIdFrom(request.headers.get("x-request-id"));
    const { service } = this.#options;
    if (service.draining) {
      const error = new OlError("draining", "Cannot run the lambda: this worker is shutting down");
      return this.#refuse(error, requestId, true);
    }
    try {
      requireLambdaName(name ?? "");
    } catch (error) {
      return this.#refuse(toOlError(error), requestId, false);
    }
    const body = await readBody(request, this.#bodies, name ?? "");
    if ("error" in body) return this.#refuse(body.error, requestId, body.closeConnection);
    try {
      const call = new HttpRunRequest(name ?? "", body.bytes, requestId, request);
      return await this.#run(request, call);
    } finally {
      this.#bodies.budget.give(body.heldBytes, body.owner);
    }
  }

  async #run(request: Request, call: HttpRunRequest): Promise<Response> {
    const { service, setPatience, onCall } = this.#options;
    // Counted only from here: a body that never ends must not hold up a stop.
    this.#inFlight += 1;
    try {
      setPatience(request, true);
      const outcome = await service.run(call);
      setPatience(request, false);
      if (outcome.error !== null) this.#logFailure(outcome.error, call.requestId, call.name);
      onCall?.({ lambda: call.name, requestId: call.requestId, outcome });
      return outcomeAnswer(outcome, call.requestId);
    } catch (error) {
      return this.#fail(toOlError(error), call.requestId);
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0 && this.#onIdle.length > 0) this.#wakeIdle();
    }
  }

  /** A call that the lambda layer never sees, but that its figures must not lack. */
  #refuse(error: OlError, requestId: string, closeConnection: boolean): Response {
    this.#options.service.refused(error.code);
    return this.#fail(error, requestId, closeConnection ? { connection: "close" } : {});
  }

  #fail(error: OlError, requestId: string, extra: AnswerHeaders = {}): Response {
    this.#logFailure(error, requestId);
    return errorAnswer(error, requestId, extra);
  }

  #logFailure(error: OlError, requestId: string, lambda?: string): void {
    const { log } = this.#options;
    const level = error.rule.level;
    if (!log.enabled(level)) return;
    const base = lambda === undefined ? { requestId } : { requestId, lambda };
    // What a guest said is clipped: its traceback is in its own files and in the answer.
    const isShort = error.code === "internal" || error.message.length <= LOGGED_REASON_MAX_CHARS;
    const fields: LogFields =
      level === "error" && isShort
        ? { op: "server.run", ...base, err: error }
        : {
            op: "server.run",
            ...base,
            code: error.code,
            reason: clip(error.message, LOGGED_REASON_MAX_CHARS),
            ...costsOf(error),
          };
    log.limited(`server.run.${error.code}`, level, "Call failed", fields);
  }

  #wakeIdle(): void {
    const waiting = this.#onIdle;
    this.#onIdle = [];
    for (const wake of waiting) wake();
  }
}

/** What a sandbox took that was ended for taking too much. */
function costsOf(error: OlError): LogFields {
  const isOver = error.code === "runtime_exceeded" || error.code === "sandbox_out_of_memory";
  return isOver ? error.details : {};
}

/** A `RunRequest` whose signal is made only when somebody wants to wait: it costs microseconds. */
class HttpRunRequest implements RunRequest {
  readonly name: string;
  readonly body: Uint8Array;
  readonly requestId: string;
  readonly #request: Request;

  constructor(name: string, body: Uint8Array, requestId: string, request: Request) {
    this.name = name;
    this.body = body;
    this.requestId = requestId;
    this.#request = request;
  }

  /** Aborts when the client hangs up; tells the truth also when first asked for after that. */
  get signal(): AbortSignal {
    return this.#request.signal;
  }
}
