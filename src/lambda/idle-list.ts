/**
 * The handler cache: idle instances of all lambdas, least recently used first. They are paused after
 * a short while, and evicted when their memory exceeds `handler_cache_size` or others need it.
 */

import type { Clock } from "../common/clock.ts";
import { IDLE_PAUSE_AFTER_MS, IDLE_SWEEP_INTERVAL_MS } from "../common/limits.ts";
import type { Instance } from "./instance.ts";

/** Idle instances in the order of their last use. */
export class IdleList {
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  readonly #onAdded: () => void;
  readonly #idle = new Set<Instance>();
  readonly #timer: ReturnType<typeof setInterval>;
  /** Evicted, and not gone yet: what they hold will be free without any more being evicted. */
  readonly #leaving = new Set<Instance>();
  /** Paused ones with what each counts with: one that died in between is no longer paused. */
  readonly #paused = new Map<Instance, number>();
  #pausedBytes = 0;
  #evictions = 0;

  /**
   * @param maxBytes `handler_cache_size`; 0 keeps nothing
   * @param clock for the time since the last use
   * @param onError told where pausing fails in the background
   * @param onAdded told of each instance that became idle: somebody may wait for its memory
   */
  constructor(
    maxBytes: number,
    clock: Clock,
    onError: (error: unknown) => void,
    onAdded: () => void,
  ) {
    this.#maxBytes = maxBytes;
    this.#clock = clock;
    this.#onError = onError;
    this.#onAdded = onAdded;
    this.#timer = setInterval(() => {
      this.sweep();
    }, IDLE_SWEEP_INTERVAL_MS);
    this.#timer.unref();
  }

  /** Instances removed to make room, so far. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Whether idle instances are kept at all. */
  get isOn(): boolean {
    return this.#maxBytes > 0;
  }

  /** Memory that will be free once those are gone that were evicted, in bytes. */
  get leavingBytes(): number {
    let bytes = 0;
    for (const { reservedBytes } of this.#leaving) bytes += reservedBytes;
    return bytes;
  }

  /** An instance has nothing to do. @param instance alive, not in the list */
  add(instance: Instance): void {
    instance.idleSinceUs = this.#clock.nowUs();
    this.#idle.add(instance);
    this.#count(instance);
    this.#onAdded();
  }

  /** An instance is taken into use, or is gone. @returns whether it was in the list */
  take(instance: Instance): boolean {
    if (!this.#idle.delete(instance)) return false;
    this.#pausedBytes -= this.#paused.get(instance) ?? 0;
    this.#paused.delete(instance);
    return true;
  }

  /** Pauses what was idle for long enough, then evicts down to the size of the cache. */
  sweep(): void {
    const before = this.#clock.nowUs() - IDLE_PAUSE_AFTER_MS * 1000;
    for (const instance of this.#idle) {
      if (instance.idleSinceUs > before) break;
      this.#pause(instance);
    }
    for (const instance of this.#idle) {
      if (this.#pausedBytes <= this.#maxBytes) return;
      if (instance.isPaused) this.#evict(instance);
    }
  }

  /**
   * Frees memory of the pool: first by pausing, then by evicting, the least recently used first.
   * @param missingBytes how much is wanted
   * @returns whether anything was freed at once
   */
  reclaim(missingBytes: number): boolean {
    let freed = this.leavingBytes;
    for (const instance of this.#idle) {
      if (freed >= missingBytes) return true;
      freed += this.#pause(instance);
    }
    for (const instance of this.#idle) {
      if (freed >= missingBytes) break;
      freed += instance.reservedBytes;
      this.#evict(instance);
    }
    return freed > 0;
  }

  /**
   * Evicts what holds zygotes that the import cache wants to be rid of.
   * @param zygoteIds from which the instances were forked
   */
  evictForkedFrom(zygoteIds: ReadonlySet<string>): void {
    for (const instance of this.#idle) {
      if (instance.zygoteId !== null && zygoteIds.has(instance.zygoteId)) this.#evict(instance);
    }
  }

  /** Stops the timer. */
  close(): void {
    clearInterval(this.#timer);
  }

  #pause(instance: Instance): number {
    if (instance.isPaused) return 0;
    try {
      const freed = instance.pause();
      this.#count(instance);
      return freed;
    } catch (error) {
      this.#onError(error);
      this.#evict(instance);
      return 0;
    }
  }

  #count(instance: Instance): void {
    if (!instance.isPaused || !this.#idle.has(instance)) return;
    this.#paused.set(instance, instance.reservedBytes);
    this.#pausedBytes += instance.reservedBytes;
  }

  #evict(instance: Instance): void {
    this.take(instance);
    this.#evictions += 1;
    this.#leaving.add(instance);
    void instance.remove().finally(() => this.#leaving.delete(instance));
  }
}
