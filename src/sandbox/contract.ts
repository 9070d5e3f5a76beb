/**
 * What an engine offers to the layers above it, and nothing of how. `sandbox/sock` and
 * `sandbox/docker` implement it; `lambda/` uses it; one contract test runs against each engine.
 */

import type { OlError } from "../common/errors.ts";

/** Where a sandbox came from, as told to the caller in `x-ol-start`. */
export type SandboxOrigin = "zygote" | "fresh";

/** Life of a sandbox. `destroyed` is final. */
export type SandboxState = "ready" | "paused" | "destroyed";

/** Bounds of one sandbox; every one is enforced by the kernel or by killing. */
export interface SandboxLimits {
  readonly memoryMaxBytes: number;
  readonly processesMax: number;
  /** Percent of one CPU. */
  readonly cpuPercent: number;
  readonly runtimeMs: number;
  readonly scratchMaxBytes: number;
}

/** One distribution that a lambda uses. */
export interface PackageDir {
  /** Directory below the packages dir, relative, such as `numpy-1.26.4-<digest>`. */
  readonly dir: string;
  /** Top-level modules that it provides. */
  readonly modules: readonly string[];
}

/** What `SandboxPool.create` is asked for. */
export interface SandboxSpec {
  readonly lambdaName: string;
  /** Host directory with the immutable code; read-only at `/handler`. */
  readonly codeDir: string;
  /** Identifies lambda and immutable code: equal ids mean the same lambda and equal bytes. */
  readonly codeId: string;
  /** Packages on `sys.path`, in order. */
  readonly packages: readonly PackageDir[];
  /** Zygote to fork from, as the import cache chose it; null: the engine's root. */
  readonly zygoteId: string | null;
  readonly limits: SandboxLimits;
  readonly network: "host" | "none";
  /** The whole environment of the lambda. */
  readonly env: Readonly<Record<string, string>>;
  /** Concurrent calls (`max_runners`). */
  readonly concurrency: number;
}

/** What one call cost and gave. */
export interface CallResult {
  /** The handler's return value as JSON text in UTF-8. */
  readonly body: Uint8Array;
  /** Time inside the handler in microseconds, as the guest says (a guest can lie about it). */
  readonly handlerUs: number;
}

/** Resources that a sandbox has used so far, from its cgroup. */
export interface SandboxUsage {
  readonly memoryBytes: number;
  readonly memoryPeakBytes: number;
  readonly cpuUs: number;
  /** Time during which the CPU limit held it back. */
  readonly throttledUs: number;
  readonly outOfMemoryKills: number;
}

/** One isolated process group that serves one lambda version. */
export interface Sandbox {
  readonly id: string;
  readonly origin: SandboxOrigin;
  readonly state: SandboxState;
  /** Time spent loading the lambda and its imports in microseconds, as the guest says. */
  readonly importUs: number;
  /** Whether its output is so long that a new sandbox should serve the next call: what it prints would be lost. */
  readonly isLogFull: boolean;
  /**
   * Settles when the sandbox is gone for whatever reason; never rejects.
   * The error says why: `sandbox_died`, `sandbox_out_of_memory`, `runtime_exceeded` …
   */
  readonly gone: Promise<OlError>;

  /**
   * Runs the handler once.
   * @param body the event as JSON text, passed on untouched
   * @param deadlineMs milliseconds after which the sandbox is killed
   * @throws {OlError} bad_request, lambda_exception, lambda_result_invalid, lambda_load,
   *   sandbox_died, sandbox_out_of_memory, sandbox_output_limit, protocol_violation,
   *   runtime_exceeded
   */
  call(body: Uint8Array, deadlineMs: number): Promise<CallResult>;
  /**
   * Notes that a call has ended, so that what was printed since the last one can be told to be its
   * output; with concurrent calls, that of any of them. Does not throw.
   * @param requestId of the call
   */
  noteCall(requestId: string): void;
  /** Freezes every process; idempotent. */
  pause(): void;
  /** Thaws it; idempotent. */
  unpause(): void;
  /** Kills everything in it and removes what it had on the host; idempotent. */
  destroy(): Promise<void>;
  /** What it uses, or has used where it is destroyed. @throws {OlError} where that cannot be read */
  usage(): SandboxUsage;
}

/** Creates sandboxes of one engine. */
export interface SandboxPool {
  /**
   * @param spec what to run
   * @returns a sandbox whose handler is loaded, or being loaded: its first call waits for that
   * @throws {OlError} sandbox_create, engine_unavailable
   */
  create(spec: SandboxSpec): Promise<Sandbox>;
  /** Sandboxes that exist now. */
  readonly live: number;
  /** Destroys every sandbox and the engine's own processes; idempotent. */
  close(): Promise<void>;
}
