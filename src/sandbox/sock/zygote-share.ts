/** What an import-cache zygote may take of the machine: much while it works for somebody, little else. */

import type { Cgroup } from "../../cgroup/contract.ts";
import {
  ZYGOTE_CALM_AFTER_MS,
  ZYGOTE_CHILD_BYTES,
  ZYGOTE_CHILDREN_FIRST,
  ZYGOTE_CPU_CALM_PERCENT,
  ZYGOTE_CPU_PERCENT,
  ZYGOTE_MEMORY_MAX_BYTES,
} from "../../common/zygote-limits.ts";

/** Processes and threads: those that imports start, and children that have not left yet. */
const PROCESSES_MAX = 256;

/** Limits of one zygote's cgroup. Until it is first used it has what imports need. */
export class ZygoteShare {
  readonly #cgroup: Cgroup;
  readonly #memoryMaxBytes: number;
  readonly #onError: (error: unknown) => void;
  /** Children for whose first pages there is room. */
  #children = ZYGOTE_CHILDREN_FIRST;
  #isCalm = false;
  #soon: ReturnType<typeof setImmediate> | null = null;
  #calm: ReturnType<typeof setTimeout> | null = null;
  #isClosed = false;

  /**
   * @param cgroup the zygote's own; gets its first limits here
   * @param onError told of limits that could not be changed later
   * @param memoryMaxBytes what it may hold, its children's first pages apart; default: the most
   * @throws {SyscallError} where the host refuses the first limits
   */
  constructor(
    cgroup: Cgroup,
    onError: (error: unknown) => void,
    memoryMaxBytes = ZYGOTE_MEMORY_MAX_BYTES,
  ) {
    this.#cgroup = cgroup;
    this.#memoryMaxBytes = Math.min(memoryMaxBytes, ZYGOTE_MEMORY_MAX_BYTES);
    this.#onError = onError;
    this.#apply();
  }

  /**
   * Notes that somebody wants a child. Takes effect when the request for it is out: a zygote at rest may
   * run long enough for a fork, and the caller does not wait for the cgroup.
   * @param children how many it has then
   */
  used(children: number): void {
    this.#children = Math.max(this.#children, 2 ** Math.ceil(Math.log2(children + 1)));
    this.#soon ??= setImmediate(() => {
      this.#soon = null;
      this.#set(false);
    });
    if (this.#calm === null) this.rest();
    else this.#calm.refresh();
  }

  /** Lets it fall back to little CPU unless somebody uses it soon. */
  rest(): void {
    if (this.#isClosed) return;
    this.#calm ??= setTimeout(() => {
      this.#calm = null;
      this.#set(true);
    }, ZYGOTE_CALM_AFTER_MS);
    this.#calm.unref();
  }

  /** Changes nothing any more. */
  close(): void {
    this.#isClosed = true;
    if (this.#soon !== null) clearImmediate(this.#soon);
    if (this.#calm !== null) clearTimeout(this.#calm);
  }

  #set(isCalm: boolean): void {
    if (this.#isClosed) return;
    this.#isCalm = isCalm;
    try {
      this.#apply();
    } catch (error) {
      this.#onError(error);
    }
  }

  /** The cgroup writes only what differs from before. */
  #apply(): void {
    this.#cgroup.setLimits({
      memoryMaxBytes: this.#memoryMaxBytes + this.#children * ZYGOTE_CHILD_BYTES,
      processesMax: PROCESSES_MAX,
      cpuPercent: this.#isCalm ? ZYGOTE_CPU_CALM_PERCENT : ZYGOTE_CPU_PERCENT,
    });
  }
}
