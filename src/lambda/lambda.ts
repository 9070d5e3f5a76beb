/**
 * One lambda on this worker: its calls in order, the instances that serve them, and how many of
 * those the load needs.
 */

import type { Clock } from "../common/clock.ts";
import { type ErrorCode, type OlError, toOlError } from "../common/errors.ts";
import { INSTANCE_TURN_MS, POOL_WAIT_MAX_MS, STARTS_PER_LAMBDA_MAX } from "../common/limits.ts";
import type { SandboxUsage } from "../sandbox/contract.ts";
import { type Arrival, bothWaits, CallQueue, NO_WAITS } from "./call-queue.ts";
import { NO_TIMING, type RunOutcome, type RunRequest } from "./contract.ts";
import type { IdleList } from "./idle-list.ts";
import type { Instance } from "./instance.ts";
import { cancelled, failedOutcome, noMemory, shuttingDown } from "./outcomes.ts";
import { Preparation } from "./preparation.ts";
import { Start, type StartedInstance, type StartParts } from "./start.ts";
import { divideInside } from "./timing.ts";
import type { CodeVersion, VersionSource } from "./versions.ts";
import type { WaitingRoom } from "./waiting-room.ts";

/** What a lambda needs from the table of lambdas. */
export interface LambdaParts {
  readonly clock: Clock;
  readonly idle: IdleList;
  readonly versions: VersionSource;
  readonly concurrency: number;
  readonly starts: StartParts;
  /** Whether each call's use of resources is wanted: reading it costs some system calls. */
  readonly measuresUsage: boolean;
  /** Where calls of all lambdas wait. */
  readonly room: WaitingRoom;
}

/** Ends of a sandbox that its zygote may be to blame for, where the lambda was never loaded. */
const FAILED_LOADS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "runtime_exceeded",
  "sandbox_died",
  "protocol_violation",
  "sandbox_create",
]);

/** One lambda. */
export class Lambda {
  readonly #parts: LambdaParts;
  readonly #queue: CallQueue;
  /** Idle instances of the current version, the most recently used last. */
  #idle: Instance[] = [];
  readonly #instances = new Set<Instance>();
  #version: CodeVersion | null = null;
  /** Starts under way, the oldest first. */
  readonly #starts = new Set<Start>();
  #memoryTimer: ReturnType<typeof setTimeout> | null = null;
  readonly #preparation: Preparation;
  readonly #closing = new AbortController();

  /** @param parts versions, idle list, how to start an instance */
  constructor(parts: LambdaParts) {
    this.#parts = parts;
    const { clock, versions, room } = parts;
    const onLeft = (): void => this.#withdrawSpare();
    this.#queue = new CallQueue({ room, owner: this, onLeft });
    const onUnknown = (error: OlError): void => {
      this.#switchTo(null);
      this.#queue.refuseAll(error);
    };
    const closing = this.#closing.signal;
    this.#preparation = new Preparation({ clock, versions, room, owner: this, closing, onUnknown });
  }

  /** Whether nothing of it is left: the table may forget it. */
  get isUnused(): boolean {
    const waiting = this.#queue.size + this.#preparation.size + this.#starts.size;
    return waiting === 0 && this.#instances.size === 0;
  }

  /**
   * Runs one call.
   * @param request the call
   * @returns how it went; never rejects
   */
  async run(request: RunRequest): Promise<RunOutcome> {
    const { versions } = this.#parts;
    const queuedUs = this.#parts.clock.nowUs();
    let version = versions.fresh;
    let waits = NO_WAITS;
    // Another one may take its place while this call is on its way back from the wait: the code of the
    // old one may be gone then, and the new one's packages may not be there yet.
    while (version === null || version.installed === null || version !== versions.inUse) {
      try {
        const prepared = await this.#preparation.wait(request);
        version = prepared.version;
        waits = bothWaits(waits, prepared.waits);
      } catch (error) {
        return failedOutcome(toOlError(error));
      }
    }
    if (version !== this.#version) this.#switchTo(version);
    const arrival = { request, queuedUs, waits };
    if (this.#queue.size === 0) {
      const instance = this.#takeIdle();
      if (instance !== null) return await this.#serve(instance.instance, arrival, instance);
    }
    return await this.#enqueue(arrival);
  }

  /** Destroys its instances; calls that wait or run fail. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#queue.refuseAll(shuttingDown());
    if (this.#memoryTimer !== null) clearTimeout(this.#memoryTimer);
    await Promise.all([...this.#instances].map((instance) => instance.remove()));
  }

  #switchTo(version: CodeVersion | null): void {
    this.#version = version;
    for (const start of this.#starts) if (start.tryWithdraw()) this.#starts.delete(start);
    const old = this.#idle;
    this.#idle = [];
    for (const instance of old) {
      this.#parts.idle.take(instance);
      // One that runs a call (max_runners > 1) is removed after its last.
      if (instance.busy === 0) void instance.remove();
    }
    // Calls that wait are served by the new one.
    this.#startMissing();
  }

  /** The most recently used idle instance, thawed; null where there is none that may run. */
  #takeIdle(): { instance: Instance; unpauseUs: number | null } | null {
    for (let instance = this.#idle.at(-1); instance !== undefined; instance = this.#idle.at(-1)) {
      const isUsable = instance.isAlive && instance.version === this.#version;
      if (!isUsable || (instance.busy > 0 && (instance.isLogFull || this.#isDue(instance)))) {
        this.#idle.pop();
        this.#parts.idle.take(instance);
        continue;
      }
      if (!instance.isPaused) {
        this.#leaveIdle(instance);
        return { instance, unpauseUs: null };
      }
      const before = this.#parts.clock.nowUs();
      const outcome = this.#thaw(instance);
      if (outcome === "no memory") return this.#takeRunning();
      if (outcome === "thawed") {
        return { instance, unpauseUs: this.#parts.clock.nowUs() - before };
      }
    }
    return null;
  }

  /** One with a free place that needs no memory: with max_runners > 1, below one that is paused. */
  #takeRunning(): { instance: Instance; unpauseUs: null } | null {
    const isFree = (one: Instance): boolean =>
      one.isAlive && !one.isPaused && !one.isLogFull && !this.#isDue(one);
    const instance = this.#idle.findLast(isFree);
    if (instance === undefined) return null;
    this.#leaveIdle(instance);
    return { instance, unpauseUs: null };
  }

  #thaw(instance: Instance): "thawed" | "no memory" | "lost" {
    // Out of the list first: making room for it must not evict it.
    this.#leaveIdle(instance);
    try {
      if (instance.tryUnpause()) return "thawed";
    } catch {
      // A host that does not thaw it loses it this one instance, not the call.
      void instance.remove();
      return "lost";
    }
    this.#becomeIdle(instance);
    return "no memory";
  }

  #becomeIdle(instance: Instance): void {
    if (!this.#idle.includes(instance)) this.#idle.push(instance);
    if (instance.busy === 0) this.#parts.idle.add(instance);
  }

  #leaveIdle(instance: Instance): void {
    this.#parts.idle.take(instance);
    // With max_runners > 1 it stays in reach while it can take more calls.
    if (instance.busy + 1 >= this.#parts.concurrency) {
      this.#idle.splice(this.#idle.lastIndexOf(instance), 1);
    }
  }

  #enqueue(arrival: Arrival): Promise<RunOutcome> {
    if (arrival.request.signal.aborted) return Promise.resolve(failedOutcome(cancelled()));
    if (this.#closing.signal.aborted) return Promise.resolve(failedOutcome(shuttingDown()));
    const outcome = this.#queue.add(arrival, this.#parts.clock.nowUs());
    this.#startMissing();
    return outcome;
  }

  /** Starts instances for calls that wait and that no start under way will serve. */
  #startMissing(): void {
    const version = this.#version;
    if (version === null) return;
    while (
      this.#starts.size < STARTS_PER_LAMBDA_MAX &&
      this.#starts.size * this.#parts.concurrency < this.#queue.size
    ) {
      const start = new Start(version, this, this.#parts.starts);
      this.#starts.add(start);
      void this.#run(start);
    }
    this.#watchMemory();
  }

  /** Takes back what no call that waits needs any more, the newest first. */
  #withdrawSpare(): void {
    for (const start of [...this.#starts].toReversed()) {
      if ((this.#starts.size - 1) * this.#parts.concurrency < this.#queue.size) return;
      if (start.tryWithdraw()) this.#starts.delete(start);
    }
  }

  /** While memory is short, calls that have waited as long as a call may are refused. */
  #watchMemory(): void {
    const { oldestUs } = this.#queue;
    if (this.#memoryTimer !== null || oldestUs === null || !this.#isShortOfMemory) return;
    const waitedUs = this.#parts.clock.nowUs() - oldestUs;
    const dueMs = Math.max(1, Math.ceil(POOL_WAIT_MAX_MS - waitedUs / 1000));
    this.#memoryTimer = setTimeout(() => {
      this.#memoryTimer = null;
      const sinceUs = this.#parts.clock.nowUs() - POOL_WAIT_MAX_MS * 1000;
      if (this.#isShortOfMemory) this.#queue.refuseOlder(sinceUs, noMemory());
      this.#watchMemory();
    }, dueMs);
  }

  get #isShortOfMemory(): boolean {
    for (const start of this.#starts) if (start.isShortOfMemory) return true;
    return false;
  }

  async #run(start: Start): Promise<void> {
    const { version } = start;
    version.acquire();
    let started: StartedInstance | null = null;
    try {
      started = await start.run((instance) => {
        this.#onRemoved(instance);
      });
    } catch (error) {
      // The call that has waited longest hears of it; the others get a try of their own.
      this.#queue.refuseNext(toOlError(error));
    }
    this.#starts.delete(start);
    if (started !== null) {
      started.instance.startedUs = this.#parts.clock.nowUs();
      this.#instances.add(started.instance);
      this.#offer(started.instance, started.sandboxUs);
    }
    this.#startMissing();
    // Only now: where another start follows this one, its code must still be there.
    if (started === null) version.release();
  }

  /** Gives an instance with a free place its next call, or makes it idle. */
  #offer(instance: Instance, sandboxUs = 0): void {
    if (!instance.isAlive) return;
    const isCurrent = instance.version === this.#version && !instance.isLogFull;
    if (!isCurrent || this.#closing.signal.aborted) {
      if (instance.busy === 0) void instance.remove();
      return;
    }
    if (this.#queue.size > 0 && this.#isDue(instance)) {
      this.#yield(instance);
      return;
    }
    const call = this.#queue.next();
    if (call !== null) {
      const costs = { unpauseUs: null, sandboxUs };
      void this.#serve(instance, call, costs).then(call.resolve);
      if (instance.busy < this.#parts.concurrency) this.#offer(instance);
    } else if (!this.#parts.idle.isOn && instance.busy === 0) {
      instance.removeSoon();
    } else {
      this.#becomeIdle(instance);
    }
  }

  /** Whether it has had its turn, and other lambdas wait for more memory than they are about to get. */
  #isDue(instance: Instance): boolean {
    const { memory } = this.#parts.starts;
    const wantedBytes = memory.wantedByOthers(this);
    if (wantedBytes === 0) return false;
    if (wantedBytes <= memory.freeBytes + this.#parts.idle.leavingBytes) return false;
    const servedUs = this.#parts.clock.nowUs() - instance.startedUs;
    return servedUs >= INSTANCE_TURN_MS * 1000;
  }

  /** Lets other lambdas have its memory, although calls of this one wait. */
  #yield(instance: Instance): void {
    // With max_runners > 1, after its last call.
    if (instance.busy > 0) return;
    this.#parts.starts.memory.passTurn(this);
    this.#becomeIdle(instance);
    if (!instance.isAlive || instance.isPaused) return;
    // What is idle is reclaimed at once, unless it was not needed after all.
    this.#leaveIdle(instance);
    const call = this.#queue.next();
    if (call !== null) void this.#serve(instance, call, { unpauseUs: null }).then(call.resolve);
  }

  async #serve(
    instance: Instance,
    { request, queuedUs, waits: { pullUs, installUs } }: Arrival,
    costs: { unpauseUs: number | null; sandboxUs?: number },
  ): Promise<RunOutcome> {
    const { clock } = this.#parts;
    const first = instance.begin();
    const start = first === "warm" && costs.unpauseUs !== null ? "unpaused" : first;
    const calledUs = clock.nowUs();
    const waitedUs = Math.max(0, calledUs - queuedUs - pullUs - installUs);
    // It may have been under way before this call came.
    const sandboxUs = Math.min(waitedUs, costs.unpauseUs ?? costs.sandboxUs ?? 0);
    const queueUs = waitedUs - sandboxUs;
    const timing = { ...NO_TIMING, queueUs, pullUs, installUs, sandboxUs };
    try {
      const result = await instance.sandbox.call(request.body, instance.limits.runtimeMs);
      timing.handlerUs = result.handlerUs;
      return { start, timing, body: result.body, error: null, ...this.#usageOf(instance) };
    } catch (thrown) {
      const error = toOlError(thrown);
      const isUnloaded = first !== "warm" && instance.sandbox.importUs === 0;
      if (isUnloaded && FAILED_LOADS.has(error.code)) instance.failedToLoad();
      return { ...failedOutcome(error, start, timing), ...this.#usageOf(instance) };
    } finally {
      if (first !== "warm" && instance.sandbox.importUs > 0) {
        // Its imports are done, whatever its handler then made of the event.
        timing.importUs = instance.sandbox.importUs;
        instance.loaded();
      }
      divideInside(timing, clock.nowUs() - calledUs);
      instance.sandbox.noteCall(request.requestId);
      instance.busy -= 1;
      this.#offer(instance);
    }
  }

  #usageOf({ sandbox }: Instance): { usage?: SandboxUsage } {
    if (!this.#parts.measuresUsage) return {};
    try {
      return { usage: sandbox.usage() };
    } catch {
      return {}; // Its cgroup is gone with it.
    }
  }

  #onRemoved(instance: Instance): void {
    this.#instances.delete(instance);
    this.#parts.idle.take(instance);
    const at = this.#idle.indexOf(instance);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#startMissing();
  }
}
