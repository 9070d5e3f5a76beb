/**
 * Everything below the lambda layer without processes: a clock, sandboxes whose calls the test ends,
 * a pool, a registry and an installer. What no engine would stand, such as a call to a paused sandbox,
 * is kept in an `Audit`.
 */

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../../src/common/clock.ts";
import { OlError } from "../../../src/common/errors.ts";
import type { InstalledPackages, PackageInstaller } from "../../../src/packages/contract.ts";
import type { Registry, RegistryEntry, RegistryVersion } from "../../../src/registry/contract.ts";
import type {
  CallResult,
  Sandbox,
  SandboxLimits,
  SandboxOrigin,
  SandboxPool,
  SandboxSpec,
  SandboxState,
  SandboxUsage,
} from "../../../src/sandbox/contract.ts";

export const MIB = 1024 * 1024;

/** What every fake sandbox may take, and what it holds where a test says nothing else. */
export const LIMIT_BYTES = 64 * MIB;
/** See above. */
export const HELD_BYTES = 10 * MIB;

/** Limits of fake sandboxes. */
export const LIMITS: SandboxLimits = {
  memoryMaxBytes: LIMIT_BYTES,
  processesMax: 32,
  cpuPercent: 100,
  runtimeMs: 30_000,
  scratchMaxBytes: 64 * MIB,
};

/** Time that moves when a test says so. */
export class FakeClock implements Clock {
  us = 1_000_000;
  nowUs(): number {
    return this.us;
  }
  wallMs(): number {
    return this.us / 1000;
  }
  advanceMs(ms: number): void {
    this.us += ms * 1000;
  }
}

/** Lets everything happen that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
  // What is put off until the answer is on its way.
  await new Promise(setImmediate);
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}

/** A call that a fake sandbox runs. */
export interface RunningCall {
  readonly body: string;
  readonly deadlineMs: number;
  /** Ends it with that value as JSON. */
  answer(value?: unknown): void;
  fail(error: OlError): void;
}

/** What no engine would stand, and every call that any sandbox was given. */
export class Audit {
  readonly violations: string[] = [];
  /** Bodies of calls in the order in which they began to run. */
  readonly begun: string[] = [];
}

/** A sandbox of which the test is the guest and the host. */
export class FakeSandbox implements Sandbox {
  readonly id: string;
  readonly spec: SandboxSpec;
  readonly gone: Promise<OlError>;
  readonly calls: RunningCall[] = [];
  readonly noted: string[] = [];
  origin: SandboxOrigin = "fresh";
  state: SandboxState = "ready";
  importUs = 0;
  isLogFull = false;
  heldBytes = HELD_BYTES;
  /** Of calls at the same time. */
  peak = 0;
  /** What `pause`, `unpause` and `usage` throw, if anything. */
  broken: { pause?: Error; unpause?: Error; usage?: Error } = {};
  /** Waited for before it is gone. */
  destroyGate: Promise<unknown> = Promise.resolve();
  /** Whether nothing of it is left. */
  isRemoved = false;
  readonly #audit: Audit;
  readonly #resolveGone: (error: OlError) => void;
  #ending: Promise<void> | null = null;

  constructor(id: string, spec: SandboxSpec, audit = new Audit()) {
    const { promise, resolve } = Promise.withResolvers<OlError>();
    this.id = id;
    this.spec = spec;
    this.#audit = audit;
    this.gone = promise;
    this.#resolveGone = resolve;
  }

  call(body: Uint8Array, deadlineMs: number): Promise<CallResult> {
    const { violations, begun } = this.#audit;
    if (this.state !== "ready") violations.push(`${this.id}: a call while ${this.state}`);
    const { promise, resolve, reject } = Promise.withResolvers<CallResult>();
    const end = (): void => {
      const at = this.calls.indexOf(call);
      if (at >= 0) this.calls.splice(at, 1);
    };
    const call: RunningCall = {
      body: Buffer.from(body).toString(),
      deadlineMs,
      answer: (value = null) => {
        end();
        resolve({ body: Buffer.from(JSON.stringify(value)), handlerUs: 7 });
      },
      fail: (error) => {
        end();
        reject(error);
      },
    };
    this.calls.push(call);
    begun.push(call.body);
    this.peak = Math.max(this.peak, this.calls.length);
    if (this.calls.length > this.spec.concurrency) {
      violations.push(`${this.id}: ${this.calls.length} calls at once`);
    }
    return promise;
  }

  noteCall(requestId: string): void {
    this.noted.push(requestId);
  }

  pause(): void {
    if (this.calls.length > 0) this.#audit.violations.push(`${this.id}: paused with a call`);
    if (this.broken.pause !== undefined) throw this.broken.pause;
    if (this.state === "ready") this.state = "paused";
  }

  unpause(): void {
    if (this.broken.unpause !== undefined) throw this.broken.unpause;
    if (this.state === "paused") this.state = "ready";
  }

  destroy(): Promise<void> {
    return this.die(new OlError("cancelled", "The sandbox was destroyed"));
  }

  /** What happens when its processes end for that reason. */
  die(reason = new OlError("sandbox_died", "killed")): Promise<void> {
    this.#ending ??= this.#end(reason);
    return this.#ending;
  }

  async #end(reason: OlError): Promise<void> {
    this.state = "destroyed";
    for (const call of this.calls.splice(0)) call.fail(reason);
    this.#resolveGone(reason);
    await this.destroyGate;
    this.isRemoved = true;
  }

  usage(): SandboxUsage {
    if (this.broken.usage !== undefined) throw this.broken.usage;
    const memoryBytes = this.heldBytes;
    const none = { cpuUs: 0, throttledUs: 0, outOfMemoryKills: 0 };
    return { memoryBytes, memoryPeakBytes: memoryBytes, ...none };
  }
}

/** Makes fake sandboxes, at once or when the test lets it. */
export class FakePool implements SandboxPool {
  readonly made: FakeSandbox[] = [];
  readonly audit = new Audit();
  /** What the next creations throw, in order. */
  readonly failures: Error[] = [];
  /** Waited for by each creation. */
  gate: Promise<unknown> = Promise.resolve();
  /** Does something to each sandbox before anybody else has it. */
  prepare: (sandbox: FakeSandbox) => void = () => {};
  creating = 0;

  /** Those that are not gone, the oldest first. */
  get alive(): FakeSandbox[] {
    return this.made.filter((sandbox) => !sandbox.isRemoved);
  }

  get live(): number {
    return this.alive.length;
  }

  /** Calls that run now, in the order in which their sandboxes were made. */
  get running(): RunningCall[] {
    return this.made.flatMap((sandbox) => sandbox.calls);
  }

  async create(spec: SandboxSpec): Promise<Sandbox> {
    this.creating += 1;
    try {
      await this.gate;
      const failure = this.failures.shift();
      if (failure !== undefined) throw failure;
      if (!existsSync(spec.codeDir)) {
        this.audit.violations.push(`${spec.codeId}: its code is gone`);
        throw new OlError("syscall", "Cannot open_tree: ENOENT");
      }
      const sandbox = new FakeSandbox(`sandbox-${this.made.length + 1}`, spec, this.audit);
      if (spec.zygoteId !== null) sandbox.origin = "zygote";
      this.prepare(sandbox);
      this.made.push(sandbox);
      return sandbox;
    } finally {
      this.creating -= 1;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.alive.map((sandbox) => sandbox.destroy()));
  }
}

/** Lambdas by name; `put` makes a new version, `delete` takes one away. */
export class FakeRegistry implements Registry {
  readonly #versions = new Map<string, string>();
  /** What every request throws, if anything. */
  broken: OlError | null = null;
  /** What the next pulls throw, in order. */
  readonly brokenPulls: OlError[] = [];
  /** Waited for by each `resolve`. */
  gate: Promise<unknown> = Promise.resolve();
  /** Waited for by each `pull`. */
  pullGate: Promise<unknown> = Promise.resolve();
  resolves = 0;
  pulls = 0;

  put(name: string, id: string): void {
    this.#versions.set(name, id);
  }

  delete(name: string): void {
    this.#versions.delete(name);
  }

  async resolve(name: string): Promise<RegistryVersion | null> {
    this.resolves += 1;
    const id = this.#versions.get(name);
    await this.gate;
    if (this.broken !== null) throw this.broken;
    return id === undefined ? null : { id };
  }

  async pull(name: string, version: RegistryVersion, destDir: string): Promise<RegistryVersion> {
    this.pulls += 1;
    await this.pullGate;
    const failure = this.broken ?? this.brokenPulls.shift();
    if (failure !== undefined) throw failure;
    // The store may have moved on since `resolve`.
    const id = this.#versions.get(name) ?? version.id;
    writeFileSync(join(destDir, "lambda_func.py"), id);
    return { id };
  }

  list(): Promise<readonly RegistryEntry[]> {
    return Promise.resolve([]);
  }
}

/** Installs what a test says, when it says so. */
export class FakeInstaller implements PackageInstaller {
  readonly asked: string[] = [];
  /** Answers by the version's id in the registry; default: no packages, at once. */
  readonly answers = new Map<string, Promise<InstalledPackages>>();

  async ensure(_codeDir: string, codeId: string): Promise<InstalledPackages> {
    this.asked.push(codeId);
    const id = codeId.split("/").at(-1) ?? "";
    return await (this.answers.get(id) ?? { dirs: [], imports: [], units: [] });
  }

  stats(): { hits: number; misses: number; failures: number } {
    return { hits: 0, misses: this.asked.length, failures: 0 };
  }
}
