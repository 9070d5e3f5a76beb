/** What a lambda may be called: one rule, used by the server, the registries and the shell. */

import { OlError } from "./errors.ts";
import { LAMBDA_NAME_MAX_CHARS } from "./limits.ts";

const NAME = /^[A-Za-z0-9._-]+$/;

/**
 * @param name what came in a path, an argument or a bundle
 * @returns whether a lambda can have that name: `[A-Za-z0-9._-]`, at most 128, not `.` or `..`
 */
export function isLambdaName(name: string): boolean {
  return name.length <= LAMBDA_NAME_MAX_CHARS && name !== "." && name !== ".." && NAME.test(name);
}

/**
 * @param name candidate
 * @throws {OlError} lambda_name_invalid
 */
export function requireLambdaName(name: string): void {
  if (isLambdaName(name)) return;
  const shown = name.length > 40 ? `${name.slice(0, 40)}…` : name;
  throw new OlError(
    "lambda_name_invalid",
    `Cannot name a lambda ${JSON.stringify(shown)}: only letters, digits, ".", "_" and "-" are ` +
      `allowed, at most ${LAMBDA_NAME_MAX_CHARS} of them`,
  );
}

/** Beside the output of an instance: which request printed what; written by the worker, read by `logs`. */
export const CALL_INDEX_FILE = "calls";
