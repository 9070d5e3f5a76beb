/**
 * One lambda on this worker: its calls in order, the instances that serve them, and how many of
 * those the load needs.
 */

import type { Clock } from "../common/clock.ts";
import { type ErrorCode, OlError, toOlError } from "../common/errors.ts";
import { STARTS_PER_LAMBDA_MAX } from "../common/limits.ts";
import type { SandboxUsage } from "../sandbox/contract.ts";
import type { CallTiming, RunOutcome, RunRequest, StartKind } from "./contract.ts";
import type { IdleList } from "./idle-list.ts";
import type { Instance } from "./instance.ts";
import type { CodeVersion, VersionSource } from "./versions.ts";

/** A call in the queue. */
interface QueuedCall extends Arrival {
  readonly resolve: (outcome: RunOutcome) => void;
  readonly onAbort: () => void;
}

/** A start of an instance that came about. */
export interface StartedInstance {
  readonly instance: Instance;
  readonly sandboxUs: number;
}

/** What a lambda needs from the table of lambdas. */
export interface LambdaParts {
  readonly clock: Clock;
  readonly idle: IdleList;
  readonly versions: VersionSource;
  readonly concurrency: number;
  /** Makes an instance within the memory pool; `version` is acquired already. */
  readonly start: (
    version: CodeVersion,
    onRemoved: (i: Instance) => void,
  ) => Promise<StartedInstance>;
  /** Whether each call's use of resources is wanted: reading it costs some system calls. */
  readonly measuresUsage: boolean;
  /** Whether one more call may wait. */
  readonly tryQueue: () => boolean;
  readonly unqueue: () => void;
}

/** Ends of a sandbox that its zygote may be to blame for, where the lambda was never loaded. */
const FAILED_LOADS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "runtime_exceeded",
  "sandbox_died",
  "protocol_violation",
  "sandbox_create",
]);

const NO_TIMING: CallTiming = {
  queueUs: 0,
  installUs: 0,
  sandboxUs: 0,
  importUs: 0,
  handlerUs: 0,
};

/** A version that calls can run on, and how long this one waited for its packages. */
interface PreparedVersion {
  readonly version: CodeVersion;
  readonly installUs: number;
}

/** A call on its way to an instance. */
interface Arrival {
  readonly request: RunRequest;
  readonly queuedUs: number;
  readonly installUs: number;
}

/**
 * @param error why a call has no answer
 * @param start how far it came
 * @param timing what it cost
 * @returns the outcome that says so
 */
function failedOutcome(
  error: OlError,
  start: StartKind | null = null,
  timing: CallTiming = { ...NO_TIMING },
): RunOutcome {
  return { start, timing, body: null, error };
}

/** One lambda. */
export class Lambda {
  readonly #parts: LambdaParts;
  readonly #queue = new Set<QueuedCall>();
  /** Idle instances of the current version, the most recently used last. */
  #idle: Instance[] = [];
  readonly #instances = new Set<Instance>();
  #version: CodeVersion | null = null;
  #starting = 0;
  /** Calls that wait for code or packages. */
  #preparing = 0;
  readonly #closing = new AbortController();

  /** @param parts versions, idle list, how to start an instance */
  constructor(parts: LambdaParts) {
    this.#parts = parts;
  }

  /** Whether nothing of it is left: the table may forget it. */
  get isUnused(): boolean {
    const waiting = this.#queue.size + this.#preparing + this.#starting;
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
    let installUs = 0;
    // Another one may take its place while this call is on its way back from the wait: the code of the
    // old one may be gone then, and the new one's packages may not be there yet.
    while (version === null || version.installed === null || version !== versions.inUse) {
      try {
        const prepared = await this.#prepared(request);
        version = prepared.version;
        installUs += prepared.installUs;
      } catch (error) {
        return failedOutcome(toOlError(error));
      }
    }
    if (version !== this.#version) this.#switchTo(version);
    const arrival = { request, queuedUs, installUs };
    if (this.#queue.size === 0) {
      const instance = this.#takeIdle();
      if (instance !== null) return await this.#serve(instance.instance, arrival, instance);
    }
    return await this.#enqueue(arrival);
  }

  /** Destroys its instances; calls that wait or run fail. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#refuseQueued(shuttingDown());
    await Promise.all([...this.#instances].map((instance) => instance.remove()));
  }

  /** Waits for code and packages, within the same bounds as the queue for an instance. */
  async #prepared(request: RunRequest): Promise<PreparedVersion> {
    if (request.signal.aborted) throw cancelled();
    // With a version that can serve, the wait for the registry is short.
    const isLong = (this.#parts.versions.inUse?.installed ?? null) === null;
    if (isLong && !this.#parts.tryQueue()) throw queueFull();
    this.#preparing += 1;
    const ended = Promise.withResolvers<never>();
    const onAbort = (): void => {
      ended.reject(this.#closing.signal.aborted ? shuttingDown() : cancelled());
    };
    const signals = [request.signal, this.#closing.signal];
    for (const signal of signals) signal.addEventListener("abort", onAbort);
    if (this.#closing.signal.aborted) onAbort();
    try {
      return await Promise.race([this.#prepare(request), ended.promise]);
    } finally {
      for (const signal of signals) signal.removeEventListener("abort", onAbort);
      this.#preparing -= 1;
      if (isLong) this.#parts.unqueue();
    }
  }

  /** Code and packages may take long enough for a newer version to come: then that one counts. */
  async #prepare(request: RunRequest): Promise<PreparedVersion> {
    const { versions, clock } = this.#parts;
    let installUs = 0;
    for (;;) {
      const version = await versions.current();
      if (version === null) {
        const error = unknown(request.name);
        this.#switchTo(null);
        this.#refuseQueued(error);
        throw error;
      }
      if (version.installed !== null) return { version, installUs };
      const startUs = clock.nowUs();
      // Its files are needed until it is installed, whatever becomes of it meanwhile.
      version.acquire();
      let hasPackages = true;
      try {
        hasPackages = (await version.ensurePackages()).dirs.length > 0;
      } catch (error) {
        if (versions.inUse === version) throw error;
      } finally {
        version.release();
        // A lambda without packages waits for nothing but the look at its files.
        if (hasPackages) installUs += clock.nowUs() - startUs;
      }
      if (versions.inUse === version) return { version, installUs };
    }
  }

  #refuseQueued(error: OlError): void {
    for (let call = this.#nextCall(); call !== null; call = this.#nextCall()) {
      call.resolve(failedOutcome(error));
    }
  }

  #switchTo(version: CodeVersion | null): void {
    this.#version = version;
    const old = this.#idle;
    this.#idle = [];
    for (const instance of old) {
      this.#parts.idle.take(instance);
      // One that runs a call (max_runners > 1) is removed after its last.
      if (instance.busy === 0) void instance.remove();
    }
  }

  /** The most recently used idle instance, thawed; null where there is none that may run. */
  #takeIdle(): { instance: Instance; unpauseUs: number | null } | null {
    for (let instance = this.#idle.at(-1); instance !== undefined; instance = this.#idle.at(-1)) {
      if (!instance.isAlive || instance.version !== this.#version) {
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
    const instance = this.#idle.findLast((one) => one.isAlive && !one.isPaused);
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
    const { request } = arrival;
    if (request.signal.aborted) return Promise.resolve(failedOutcome(cancelled()));
    if (this.#closing.signal.aborted) return Promise.resolve(failedOutcome(shuttingDown()));
    if (!this.#parts.tryQueue()) return Promise.resolve(failedOutcome(queueFull()));
    const { promise, resolve } = Promise.withResolvers<RunOutcome>();
    const call: QueuedCall = {
      ...arrival,
      resolve,
      onAbort: () => {
        if (this.#dequeue(call)) resolve(failedOutcome(cancelled()));
      },
    };
    this.#queue.add(call);
    request.signal.addEventListener("abort", call.onAbort);
    this.#startMissing();
    return promise;
  }

  #dequeue(call: QueuedCall): boolean {
    if (!this.#queue.delete(call)) return false;
    call.request.signal.removeEventListener("abort", call.onAbort);
    this.#parts.unqueue();
    return true;
  }

  #nextCall(): QueuedCall | null {
    for (const call of this.#queue) {
      this.#dequeue(call);
      return call;
    }
    return null;
  }

  /** Starts instances for calls that wait and that no start under way will serve. */
  #startMissing(): void {
    const version = this.#version;
    if (version === null) return;
    while (
      this.#starting < STARTS_PER_LAMBDA_MAX &&
      this.#starting * this.#parts.concurrency < this.#queue.size
    ) {
      this.#starting += 1;
      void this.#start(version);
    }
  }

  async #start(version: CodeVersion): Promise<void> {
    let started: StartedInstance | null = null;
    try {
      version.acquire();
      started = await this.#parts.start(version, (instance) => {
        this.#onRemoved(instance);
      });
    } catch (error) {
      // The call that has waited longest hears of it; the others get a try of their own.
      this.#nextCall()?.resolve(failedOutcome(toOlError(error)));
    } finally {
      this.#starting -= 1;
    }
    if (started !== null) {
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
    if (instance.version !== this.#version || this.#closing.signal.aborted) {
      if (instance.busy === 0) void instance.remove();
      return;
    }
    const call = this.#nextCall();
    if (call !== null) {
      const costs = { unpauseUs: null, sandboxUs };
      void this.#serve(instance, call, costs).then(call.resolve);
      if (instance.busy < this.#parts.concurrency) this.#offer(instance);
    } else if (!this.#parts.idle.isOn && instance.busy === 0) {
      void instance.remove();
    } else {
      this.#becomeIdle(instance);
    }
  }

  async #serve(
    instance: Instance,
    { request, queuedUs, installUs }: Arrival,
    costs: { unpauseUs: number | null; sandboxUs?: number },
  ): Promise<RunOutcome> {
    const { clock } = this.#parts;
    const first = instance.begin();
    const start = first === "warm" && costs.unpauseUs !== null ? "unpaused" : first;
    const sandboxUs = costs.unpauseUs ?? costs.sandboxUs ?? 0;
    const waitedUs = clock.nowUs() - queuedUs;
    const timing: CallTiming = {
      queueUs: Math.max(0, waitedUs - sandboxUs - installUs),
      installUs,
      sandboxUs,
      importUs: 0,
      handlerUs: 0,
    };
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

function cancelled(): OlError {
  return new OlError("cancelled", "The client hung up before the lambda ran");
}

function queueFull(): OlError {
  const message = "Cannot run the lambda: too many calls are waiting on this worker";
  return new OlError("queue_full", message, { retryable: true });
}

function shuttingDown(): OlError {
  return new OlError("draining", "Cannot run the lambda: this worker is shutting down");
}

function unknown(name: string): OlError {
  const shown = JSON.stringify(name);
  return new OlError("lambda_unknown", `Cannot run the lambda ${shown}: it is not in the registry`);
}
