/**
 * What of the machine's memory is promised to sandboxes. A sandbox that may run is counted with its
 * limit, because it may take that at any moment; a paused one with what it really holds, because
 * it cannot grow. So running code never overcommits the machine. Those who wait take turns by owner, so
 * that one with many wishes cannot keep the others waiting.
 */

import { assert } from "../common/assert.ts";

/** Somebody who waits for memory. */
interface Waiter {
  readonly owner: object;
  readonly bytes: number;
  readonly resolve: (granted: boolean) => void;
}

/** Counts bytes; takes no memory itself. */
export class MemoryPool {
  readonly #totalBytes: number;
  readonly #reclaim: (missingBytes: number) => boolean;
  /** By owner, in the order of their turns; each owner's in the order of their coming. */
  readonly #waiting = new Map<object, Set<Waiter>>();
  #reservedBytes = 0;
  /** What others than sandboxes hold of it. */
  #otherBytes = 0;
  #waitingBytes = 0;
  #isGranting = false;

  /**
   * @param totalBytes what may be promised
   * @param reclaim asked to free that much by pausing or evicting idle sandboxes; true where it
   *   freed anything, now or soon (it then calls `release`)
   */
  constructor(totalBytes: number, reclaim: (missingBytes: number) => boolean) {
    this.#totalBytes = totalBytes;
    this.#reclaim = reclaim;
  }

  /** Bytes that are promised now. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** Bytes that others than sandboxes hold: they are not there to be promised. */
  get otherBytes(): number {
    return this.#otherBytes;
  }

  /** Bytes that nobody is promised and nobody holds. */
  get freeBytes(): number {
    return this.#totalBytes - this.#reservedBytes - this.#otherBytes;
  }

  /** @param bytes that others hold now: the import cache's zygotes */
  noteOther(bytes: number): void {
    const isLess = bytes < this.#otherBytes;
    this.#otherBytes = bytes;
    if (isLess) this.retry();
  }

  /** Bytes that may be promised in all. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /**
   * @param bytes to promise
   * @returns whether they were free, perhaps after pausing idle sandboxes
   */
  tryReserve(bytes: number): boolean {
    if (this.#waiting.size > 0) return false;
    return this.#take(bytes);
  }

  /**
   * Waits in turn for memory, for as long as it is wanted.
   * @param bytes to promise
   * @param owner with whose other wishes this one shares its turns
   * @param signal ends the wait: nothing is reclaimed for it any more
   * @returns whether they were granted
   */
  async reserve(bytes: number, owner: object, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = { owner, bytes, resolve };
    const onAbort = (): void => {
      this.#leave(waiter);
      resolve(false);
      // Who waited behind a large wish may have a small one.
      this.retry();
    };
    signal.addEventListener("abort", onAbort);
    const others = this.#waiting.get(owner);
    if (others === undefined) this.#waiting.set(owner, new Set([waiter]));
    else others.add(waiter);
    this.#waitingBytes += bytes;
    this.retry();
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * @param owner of wishes
   * @returns bytes that others than this one wait for
   */
  wantedByOthers(owner: object): number {
    let bytes = this.#waitingBytes;
    for (const own of this.#waiting.get(owner) ?? []) bytes -= own.bytes;
    return bytes;
  }

  /** @param owner that lets all others who wait go first */
  passTurn(owner: object): void {
    const own = this.#waiting.get(owner);
    if (own === undefined) return;
    this.#waiting.delete(owner);
    this.#waiting.set(owner, own);
  }

  /**
   * @param bytes that are free again
   */
  release(bytes: number): void {
    this.#reservedBytes -= bytes;
    assert(this.#reservedBytes >= 0, "more memory was released than reserved");
    this.retry();
  }

  /** Grants what waits and is possible now; to be called too when there is more to reclaim. */
  retry(): void {
    // Making room releases memory: who is being served then must not be served twice.
    if (this.#isGranting) return;
    this.#isGranting = true;
    try {
      for (let waiter = this.#next(); waiter !== null; waiter = this.#next()) {
        if (!this.#take(waiter.bytes)) return;
        this.#leave(waiter);
        this.passTurn(waiter.owner);
        waiter.resolve(true);
      }
    } finally {
      this.#isGranting = false;
    }
  }

  #next(): Waiter | null {
    for (const own of this.#waiting.values()) for (const waiter of own) return waiter;
    return null;
  }

  #leave(waiter: Waiter): void {
    const own = this.#waiting.get(waiter.owner);
    if (own?.delete(waiter) !== true) return;
    if (own.size === 0) this.#waiting.delete(waiter.owner);
    this.#waitingBytes -= waiter.bytes;
  }

  #take(bytes: number): boolean {
    for (;;) {
      const held = this.#reservedBytes + this.#otherBytes;
      const missing = held + bytes - this.#totalBytes;
      if (missing <= 0) break;
      // For all who wait at once: one after the other would take as many times as long.
      const wanted = Math.max(missing, held + this.#waitingBytes - this.#totalBytes);
      if (!this.#reclaim(wanted) || this.#reservedBytes + this.#otherBytes >= held) return false;
    }
    this.#reservedBytes += bytes;
    return true;
  }
}
