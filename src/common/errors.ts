/**
 * Every failure that a caller can be told about, and the one table that says what each means to an
 * HTTP client and to a shell. Nothing else in the project maps errors to statuses.
 *
 * Expected failures are thrown as `OlError` (or a subclass where a caller branches on it). Broken
 * invariants go through `assert` and are never caught below `main`.
 */

/** How one kind of failure is shown to the outside. */
export interface ErrorRule {
  /** HTTP status of the answer. */
  readonly status: number;
  /** Process exit status: 1 it failed, 2 the caller used the program wrongly. */
  readonly exit: 1 | 2;
  /** Level at which the worker logs it. */
  readonly level: "debug" | "info" | "warn" | "error";
}

const rule = (status: number, exit: 1 | 2, level: ErrorRule["level"]): ErrorRule => ({
  status,
  exit,
  level,
});

/** The exhaustive table: one row per error code. */
export const ERROR_RULES = {
  // Command line, configuration, cluster directory.
  usage: rule(400, 2, "info"),
  config_invalid: rule(500, 2, "error"),
  cluster_exists: rule(500, 1, "error"),
  cluster_missing: rule(500, 1, "error"),
  cluster_invalid: rule(500, 1, "error"),
  base_invalid: rule(500, 1, "error"),
  host_unsupported: rule(503, 1, "error"),
  port_taken: rule(500, 1, "error"),
  worker_start: rule(500, 1, "error"),
  worker_unreachable: rule(502, 1, "error"),
  // Requests.
  bad_request: rule(400, 1, "info"),
  route_unknown: rule(404, 1, "info"),
  lambda_name_invalid: rule(404, 1, "info"),
  lambda_unknown: rule(404, 1, "info"),
  body_too_large: rule(413, 1, "info"),
  queue_full: rule(429, 1, "warn"),
  pool_exhausted: rule(429, 1, "warn"),
  cancelled: rule(499, 1, "info"),
  // What the lambda did.
  lambda_exception: rule(500, 1, "info"),
  lambda_result_invalid: rule(500, 1, "info"),
  lambda_load: rule(500, 1, "info"),
  package_install: rule(500, 1, "warn"),
  bundle_invalid: rule(500, 1, "warn"),
  sandbox_died: rule(502, 1, "warn"),
  sandbox_out_of_memory: rule(502, 1, "warn"),
  sandbox_output_limit: rule(502, 1, "warn"),
  protocol_violation: rule(502, 1, "warn"),
  runtime_exceeded: rule(504, 1, "warn"),
  // The worker and what it stands on.
  draining: rule(503, 1, "info"),
  engine_unavailable: rule(503, 1, "error"),
  sandbox_create: rule(503, 1, "error"),
  registry_unavailable: rule(503, 1, "error"),
  registry_denied: rule(503, 1, "error"),
  docker_unavailable: rule(503, 1, "error"),
  syscall: rule(503, 1, "error"),
  internal: rule(500, 1, "error"),
} as const satisfies Record<string, ErrorRule>;

/** A failure's stable name, shown to clients and in logs. */
export type ErrorCode = keyof typeof ERROR_RULES;

/** What an `OlError` may carry beside its message. */
export interface OlErrorOptions {
  /** The operation that failed, as `module.verb`. */
  readonly op?: string;
  /** Facts for logs and `--json`: never payloads, secrets or host paths meant for clients. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The failure underneath. */
  readonly cause?: unknown;
  /** Whether the same request may succeed later without any change. */
  readonly retryable?: boolean;
}

/** A failure with a code; `message` says what could not be done, what is and what was wanted. */
export class OlError extends Error {
  override readonly name: string = "OlError";
  readonly code: ErrorCode;
  readonly op: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;

  /**
   * @param code row of `ERROR_RULES`
   * @param message one sentence, no closing period: "Cannot <do> <thing>: <is>, <wanted>"
   * @param options operation, details, cause, whether a retry may help
   */
  constructor(code: ErrorCode, message: string, options: OlErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.op = options.op;
    this.details = options.details ?? {};
    this.retryable = options.retryable ?? false;
  }

  /** The row of `ERROR_RULES` that applies. */
  get rule(): ErrorRule {
    return ERROR_RULES[this.code];
  }
}

/** A system call that failed; carries the errno's name so that tests can be exact. */
export class SyscallError extends OlError {
  override readonly name = "SyscallError";
  readonly call: string;
  readonly errno: number;
  readonly errnoName: string;

  /**
   * @param call name of the system call
   * @param errno its positive error number
   * @param errnoName its symbolic name, such as `EPERM`
   * @param args what it was called with, as text for the reader; no payloads
   */
  constructor(call: string, errno: number, errnoName: string, args: string) {
    super("syscall", `Cannot ${call}(${args}): ${errnoName}`, {
      op: call,
      details: { call, errno, errnoName, args },
    });
    this.call = call;
    this.errno = errno;
    this.errnoName = errnoName;
  }
}

/**
 * @param error anything thrown
 * @returns it as an `OlError`; what is not one becomes `internal` with the original as its cause
 */
export function toOlError(error: unknown): OlError {
  if (error instanceof OlError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new OlError("internal", message, { cause: error });
}

/**
 * @param error anything thrown
 * @returns the text of a system or I/O error's code (`ENOENT`), or undefined
 */
export function errnoNameOf(error: unknown): string | undefined {
  if (error instanceof SyscallError) return error.errnoName;
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}
