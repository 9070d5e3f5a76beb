/** What the load generator is told and what it tells: the only types shared by both processes. */

/** When calls start. */
export type Arrivals =
  /** Closed loop: each client sends its next call when the last one is answered. */
  | { readonly kind: "closed"; readonly clients: number }
  /**
   * Open loop: calls are due at times fixed in advance, whatever the server does. A call that finds
   * no free connection waits, and that wait is part of its latency.
   */
  | {
      readonly kind: "constant" | "poisson";
      readonly ratePerS: number;
      readonly connectionsMax: number;
    };

/** Which path each call goes to. */
export type Pick =
  | { readonly kind: "round-robin" }
  | { readonly kind: "zipf"; readonly exponent: number };

/** One burst of load. */
export interface LoadPlan {
  /** Loopback only. */
  readonly port: number;
  readonly method: "GET" | "POST";
  readonly paths: readonly string[];
  readonly pick: Pick;
  readonly arrivals: Arrivals;
  /** Calls that are measured; with `durationMs` whichever ends first. */
  readonly count: number;
  readonly durationMs: number;
  /** Calls sent first and not measured; closed loop. */
  readonly warmupCount: number;
  /** Bytes of padding in each body. */
  readonly padBytes: number;
  /** Whether each call carries a nonce that must come back in its answer. */
  readonly nonce: boolean;
  /** Keep path, start kind and stages of each call (costs the generator time). */
  readonly details: boolean;
  /** Whether the start of each call is recorded (`details` does so as well). */
  readonly starts: boolean;
  /** Members that each event has beside its nonce. */
  readonly extra: Readonly<Record<string, string | number | boolean>>;
  /** Answers slower than this end the burst with a failure. */
  readonly timeoutMs: number;
  readonly seed: string;
}

/** Columns with one entry per measured call that was answered with 200, in order of answer. */
export interface LoadResult {
  /** From the intended start of a call to the last byte of its answer. */
  readonly latencyUs: number[];
  /** Open loop: from the intended start to the moment the call was written; else empty. */
  readonly lagUs: number[];
  /** With `details`: index into `paths`. */
  readonly path: number[];
  /** With `details` or `starts`: the `x-ol-start` header, or "". */
  readonly start: string[];
  /** With `details`: stages of the `server-timing` header in microseconds. */
  readonly stages: Record<string, number[]>;
  /** The same as `latencyUs` for answers 429: how soon a caller learns that there is no room. */
  readonly refusedUs: number[];
  /** First intended start to last answer. */
  readonly elapsedUs: number;
  /** Processor time of the generator itself during the burst. */
  readonly generatorCpuUs: number;
  /** Calls that were not answered with 200 and the right nonce, by reason. */
  readonly failures: Record<string, number>;
  /** First failing answer's body, shortened: what a reader needs to mend it. */
  readonly firstFailure: string;
  /** Most calls that were due and not yet answered. */
  readonly inFlightMax: number;
}

/** Everything that most plans leave alone. */
export const PLAN_DEFAULTS = {
  method: "POST",
  pick: { kind: "round-robin" },
  count: Number.MAX_SAFE_INTEGER,
  durationMs: 600_000,
  warmupCount: 0,
  padBytes: 0,
  nonce: true,
  details: false,
  starts: false,
  extra: {},
  timeoutMs: 60_000,
} as const satisfies Partial<LoadPlan>;
