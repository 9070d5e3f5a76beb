/** One serving slot of a lambda: a sandbox, what it is promised of the memory, and its place among the idle. */

import type { Sandbox, SandboxLimits, SandboxUsage } from "../sandbox/contract.ts";
import type { MemoryPool } from "../sandbox/memory-pool.ts";
import type { ZygoteLease } from "../zygote/import-cache.ts";
import type { StartKind } from "./contract.ts";
import type { CodeVersion } from "./versions.ts";

/** What an instance is made of. */
export interface InstanceParts {
  /** What it runs; acquired by the caller, released with the instance. */
  readonly version: CodeVersion;
  readonly sandbox: Sandbox;
  readonly limits: SandboxLimits;
  /** Where `limits.memoryMaxBytes` were reserved by the caller. */
  readonly memory: MemoryPool;
  /** The zygote that it was forked from, lent until its imports are done; null without import cache. */
  readonly lease: ZygoteLease | null;
}

/** A sandbox in service. */
export class Instance {
  readonly version: CodeVersion;
  readonly sandbox: Sandbox;
  readonly limits: SandboxLimits;
  /** When it came into service, in microseconds of the clock. */
  startedUs = 0;
  /** When it was last given back, in microseconds of the clock. */
  idleSinceUs = 0;
  /** Calls that it runs now. */
  busy = 0;
  readonly #memory: MemoryPool;
  readonly #lease: ZygoteLease | null;
  readonly #onRemoved: (instance: Instance, usage: SandboxUsage | null) => void;
  #reservedBytes: number;
  #calls = 0;
  #removing: Promise<void> | null = null;

  /**
   * @param parts what it is made of
   * @param onRemoved called once, when nothing of it is left
   */
  constructor(
    parts: InstanceParts,
    onRemoved: (instance: Instance, usage: SandboxUsage | null) => void,
  ) {
    const { version, sandbox, limits, memory } = parts;
    this.#lease = parts.lease;
    this.version = version;
    this.sandbox = sandbox;
    this.limits = limits;
    this.#memory = memory;
    this.#onRemoved = onRemoved;
    this.#reservedBytes = limits.memoryMaxBytes;
    void sandbox.gone.then(() => this.remove());
  }

  /** Whether it is stopped by the freezer. */
  get isPaused(): boolean {
    return this.sandbox.state === "paused";
  }

  /** Whether calls can be given to it. */
  get isAlive(): boolean {
    return this.#removing === null && this.sandbox.state !== "destroyed";
  }

  /** Whether it should be replaced rather than print any more. */
  get isLogFull(): boolean {
    return this.sandbox.isLogFull;
  }

  /** Memory that it is promised (running) or holds (paused), in bytes. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** Notes that a call goes to it. @returns how that call got its sandbox */
  begin(): StartKind {
    this.busy += 1;
    this.#calls += 1;
    return this.#calls === 1 ? this.sandbox.origin : "warm";
  }

  /** The zygote of the import cache that it was forked from; null: the root. */
  get zygoteId(): string | null {
    return this.#lease?.zygote ?? null;
  }

  /** Notes that its lambda did not come up, perhaps for its zygote's fault. */
  failedToLoad(): void {
    this.#lease?.failed();
  }

  /** Notes that its lambda is loaded: the import cache learns what the imports took. */
  loaded(): void {
    this.version.hasLoaded = true;
    this.#lease?.release(this.sandbox.importUs);
  }

  /**
   * Freezes it while it is idle; from then on it counts with what it holds.
   * @returns bytes of the pool that this freed
   */
  pause(): number {
    if (!this.isAlive || this.isPaused || this.busy > 0) return 0;
    this.sandbox.pause();
    const held = Math.min(this.#heldBytes(), this.#reservedBytes);
    const freed = this.#reservedBytes - held;
    this.#reservedBytes = held;
    this.#memory.release(freed);
    return freed;
  }

  /** What cannot be read counts as all that it may have: pausing it then frees nothing. */
  #heldBytes(): number {
    try {
      return this.sandbox.usage().memoryBytes;
    } catch {
      return this.#reservedBytes;
    }
  }

  /**
   * Thaws it, with its full limit promised again.
   * @returns false where the memory for that is not free
   */
  tryUnpause(): boolean {
    if (!this.isPaused) return true;
    const wanted = this.limits.memoryMaxBytes - this.#reservedBytes;
    if (!this.#memory.tryReserve(wanted)) return false;
    this.#reservedBytes += wanted;
    this.sandbox.unpause();
    return true;
  }

  /** What it has used by its end; null where its cgroup is gone already. */
  #lastUsage(): SandboxUsage | null {
    try {
      return this.sandbox.usage();
    } catch {
      return null;
    }
  }

  /** Destroys it once the answer that it has given is on its way; killing takes longer than writing that. */
  removeSoon(): void {
    setImmediate(() => void this.remove());
  }

  /** Destroys it; idempotent. */
  remove(): Promise<void> {
    this.#removing ??= this.#remove();
    return this.#removing;
  }

  async #remove(): Promise<void> {
    this.#lease?.release(null);
    await this.sandbox.destroy();
    const usage = this.#lastUsage();
    const bytes = this.#reservedBytes;
    // First: whoever is woken by the release must not count it as still to come.
    this.#reservedBytes = 0;
    this.#memory.release(bytes);
    this.version.release();
    this.#onRemoved(this, usage);
  }
}
