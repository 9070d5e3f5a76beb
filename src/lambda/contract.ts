/** What the server asks of the lambda layer; the server knows nothing below this. */

import type { ErrorCode, OlError } from "../common/errors.ts";
import type { SandboxUsage } from "../sandbox/contract.ts";

/** How a call got its sandbox, as told in `x-ol-start`. */
export type StartKind = "warm" | "unpaused" | "zygote" | "fresh";

/** Where a call's time went, in microseconds: what it took in all, and stages that add up to nearly that. */
export interface CallTiming {
  /** From its arrival until its answer was there. */
  totalUs: number;
  /** Waiting for a free instance or for memory. */
  queueUs: number;
  /** Waiting for the registry: the lambda's code; 0 where that was there. */
  pullUs: number;
  /** Waiting for the installation of the lambda's packages; 0 where they were there. */
  installUs: number;
  /** Creating or unpausing the sandbox, as far as this call had to wait for it. */
  sandboxUs: number;
  /** Loading the lambda and its imports (guest's word). */
  importUs: number;
  /** Inside the handler (guest's word). */
  handlerUs: number;
  /**
   * The rest of the time in the sandbox: a new process wakes up, attaches its code and closes itself off;
   * the event and the answer are decoded, encoded and carried over.
   */
  guestUs: number;
}

/** Of a call that has not begun. */
export const NO_TIMING: Readonly<CallTiming> = Object.freeze({
  totalUs: 0,
  queueUs: 0,
  pullUs: 0,
  installUs: 0,
  sandboxUs: 0,
  importUs: 0,
  handlerUs: 0,
  guestUs: 0,
});

/** One HTTP call of a lambda. */
export interface RunRequest {
  readonly name: string;
  /** The event as JSON text, untouched; empty means `null`. */
  readonly body: Uint8Array;
  readonly requestId: string;
  /** Aborts when the client hangs up: gives up the place in the queue. */
  readonly signal: AbortSignal;
}

/** How it went; never thrown, so that timing and start are there for failures too. */
export interface RunOutcome {
  /** Null where no sandbox was reached. */
  readonly start: StartKind | null;
  readonly timing: CallTiming;
  /** What its sandbox has used by its end; only where calls are logged one by one. */
  readonly usage?: SandboxUsage;
  /** The handler's return value as JSON text; null where `error` is set. */
  readonly body: Uint8Array | null;
  readonly error: OlError | null;
}

/** Latency of one stage in microseconds. */
export interface StageStats {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** One entry of the import cache, for `/stats` and `ol status`. */
export interface ZygoteStats {
  readonly id: string;
  readonly parent: string | null;
  /** Modules that it imported itself: what it has beyond its parent. */
  readonly imports: readonly string[];
  /** Directories of all that it may have loaded from, its parent's included. */
  readonly packages: readonly string[];
  readonly hits: number;
  readonly memoryBytes: number;
  readonly importUs: number;
  readonly children: number;
  readonly liveSandboxes: number;
}

/** The figures behind `/stats` and `/metrics`. */
export interface WorkerStats {
  readonly uptimeMs: number;
  readonly calls: {
    /** Calls that were answered, those included that were refused before they got here. */
    readonly total: number;
    readonly inFlight: number;
    readonly queued: number;
    /** Finished calls by `x-ol-start`. */
    readonly byStart: Readonly<Record<StartKind, number>>;
    /** Failed calls by error code. */
    readonly byError: Readonly<Record<string, number>>;
  };
  readonly stages: Readonly<
    Record<
      "total" | "queue" | "pull" | "install" | "sandbox" | "import" | "handler" | "guest",
      StageStats
    >
  >;
  readonly caches: {
    readonly handler: {
      readonly hits: number;
      readonly misses: number;
      readonly evictions: number;
    };
    readonly import: { readonly hits: number; readonly misses: number; readonly evictions: number };
    readonly install: { readonly hits: number; readonly misses: number; readonly failures: number };
  };
  readonly sandboxes: {
    readonly live: number;
    readonly paused: number;
    readonly busy: number;
    /** Processes killed for want of memory, of all sandboxes that are gone. */
    readonly outOfMemoryKills: number;
    /** CPU time and time held back by the CPU limit, of all sandboxes that are gone. */
    readonly cpuUs: number;
    readonly throttledUs: number;
  };
  readonly memory: {
    readonly poolBytes: number;
    readonly reservedBytes: number;
    /** What the import cache's zygotes hold of the pool. */
    readonly zygoteBytes: number;
    readonly workerRssBytes: number;
  };
  readonly lambdas: number;
  readonly zygotes: readonly ZygoteStats[];
}

/** The lambda layer. */
export interface LambdaService {
  /** Runs a lambda; resolves for failures too. */
  run(request: RunRequest): Promise<RunOutcome>;
  /** Counts a call that the server answered itself: its body was too large, its name cannot be one. */
  refused(code: ErrorCode): void;
  stats(): WorkerStats;
  /** True once the worker stops taking calls: the server answers 503. */
  readonly draining: boolean;
}
