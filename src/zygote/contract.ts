/** What the import cache needs from the engine, and the figures that it gives. */

import type { PackageDir } from "../sandbox/contract.ts";

/** What a new zygote is to be. */
export interface ZygoteSpec {
  readonly id: string;
  /** Everything on its `sys.path`, its parent's included, sorted by directory. */
  readonly packages: readonly PackageDir[];
  /** Modules that it has to import beyond its parent's, in this order. */
  readonly imports: readonly string[];
  /** Bound of the imports, in milliseconds. */
  readonly timeoutMs: number;
  /** Most that it may hold beyond its parent while it imports, in bytes. */
  readonly memoryMaxBytes: number;
}

/** Makes and ends zygotes; implemented by the engine. */
export interface ZygoteHost {
  /**
   * Forks a zygote from another and imports modules in it. Settles in bounded time, whatever the
   * packages do.
   * @param parent id of the zygote to fork from; null: the root
   * @param spec what to make
   * @returns how long the imports took, in microseconds
   * @throws {OlError} sandbox_create where it cannot be made, lambda_load where an import raised
   */
  createZygote(parent: string | null, spec: ZygoteSpec): Promise<{ readonly importUs: number }>;
  /**
   * Ends a zygote and what was forked from it; idempotent, also for one that is gone. One that is still
   * being made is given up: its creation fails.
   */
  destroyZygote(id: string): Promise<void>;
  /** Memory charged to it alone, in bytes; 0 where it is gone. */
  memoryBytes(id: string): number;
  /** Handlers and zygotes forked from it that still live: they die with it. */
  liveSandboxes(id: string): number;
}

/** One zygote, for people; same shape as in `lambda/contract.ts`, which this layer cannot import. */
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

/** Figures of the whole cache since it was made. */
export interface ImportCacheStats {
  /** Cold starts that forked from a zygote other than the root. */
  readonly hits: number;
  /** Cold starts of lambdas with packages that found none. */
  readonly misses: number;
  readonly evictions: number;
  readonly creations: number;
  /** Zygotes that could not be made. */
  readonly failures: number;
  /** Zygotes that ended by themselves. */
  readonly deaths: number;
  readonly memoryBytes: number;
  readonly zygotes: readonly ZygoteStats[];
}
