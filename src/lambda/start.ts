/**
 * One start of an instance: waits for memory, then for its turn, then makes a sandbox. Until that last step it
 * can be taken back, and costs nobody anything then.
 */

import type { MemoryPool } from "../sandbox/memory-pool.ts";
import type { Instance } from "./instance.ts";
import type { StartGate } from "./start-gate.ts";
import type { CodeVersion } from "./versions.ts";

/** A start that came about. */
export interface StartedInstance {
  readonly instance: Instance;
  readonly sandboxUs: number;
}

/** What starts of all lambdas share. */
export interface StartParts {
  readonly memory: MemoryPool;
  /** What each instance is promised, in bytes. */
  readonly memoryMaxBytes: number;
  readonly gate: StartGate;
  /** Makes an instance in memory that is reserved; `version` is acquired already. */
  readonly create: (
    version: CodeVersion,
    onRemoved: (instance: Instance) => void,
  ) => Promise<StartedInstance>;
}

/** A start under way. */
export class Start {
  readonly version: CodeVersion;
  readonly #owner: object;
  readonly #parts: StartParts;
  readonly #withdrawal = new AbortController();
  #step: "memory" | "turn" | "creation" = "memory";

  /**
   * @param version what is to run; acquired by the caller
   * @param owner the lambda: its starts take turns with those of others
   * @param parts memory, gate, engine
   */
  constructor(version: CodeVersion, owner: object, parts: StartParts) {
    this.version = version;
    this.#owner = owner;
    this.#parts = parts;
  }

  /** Whether it waits for memory. */
  get isShortOfMemory(): boolean {
    return this.#step === "memory";
  }

  /**
   * @param onRemoved told when the instance is gone
   * @returns the instance; null where it was taken back
   * @throws {OlError} what the engine says
   */
  async run(onRemoved: (instance: Instance) => void): Promise<StartedInstance | null> {
    const { memory, memoryMaxBytes, gate, create } = this.#parts;
    const { signal } = this.#withdrawal;
    const isGranted =
      memory.tryReserve(memoryMaxBytes) ||
      (await memory.reserve(memoryMaxBytes, this.#owner, signal));
    if (!isGranted) return null;
    this.#step = "turn";
    let started: StartedInstance | null = null;
    try {
      started = await gate.run(async () => {
        if (signal.aborted) return null;
        this.#step = "creation";
        return await create(this.version, onRemoved);
      });
      return started;
    } finally {
      if (started === null) memory.release(memoryMaxBytes);
    }
  }

  /** Takes it back. @returns false where its sandbox is being made already */
  tryWithdraw(): boolean {
    if (this.#step === "creation") return false;
    this.#withdrawal.abort();
    return true;
  }
}
