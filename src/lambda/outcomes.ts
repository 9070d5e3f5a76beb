/** Outcomes of calls that no handler answered, and why. */

import { OlError } from "../common/errors.ts";
import { NO_TIMING, type CallTiming, type RunOutcome, type StartKind } from "./contract.ts";

/**
 * @param error why a call has no answer
 * @param start how far it came
 * @param timing what it cost
 * @returns the outcome that says so
 */
export function failedOutcome(
  error: OlError,
  start: StartKind | null = null,
  timing: CallTiming = { ...NO_TIMING },
): RunOutcome {
  return { start, timing, body: null, error };
}

/** @returns for a client that hung up */
export function cancelled(): OlError {
  return new OlError("cancelled", "The client hung up before the lambda ran");
}

/** @returns for a call that finds no place to wait */
export function queueFull(): OlError {
  const message = "Cannot run the lambda: too many calls are waiting on this worker";
  return new OlError("queue_full", message, { retryable: true });
}

/** @returns for a call that has waited for memory as long as a call may */
export function noMemory(): OlError {
  const message = "Cannot create a sandbox: no memory is free for it on this worker";
  return new OlError("pool_exhausted", message, { retryable: true });
}

/** @returns for a call on a worker that ends */
export function shuttingDown(): OlError {
  return new OlError("draining", "Cannot run the lambda: this worker is shutting down");
}

/** @param name that the registry does not have. @returns for its calls */
export function unknownLambda(name: string): OlError {
  const shown = JSON.stringify(name);
  return new OlError("lambda_unknown", `Cannot run the lambda ${shown}: it is not in the registry`);
}
