/**
 * A lambda layer to which anything happens: steps of a random history, and what must hold after it.
 * The history decides what happens; this file knows what the outcome of a call may then be.
 */

import { expect } from "bun:test";
import { existsSync } from "node:fs";
import { OlError } from "../../../src/common/errors.ts";
import { POOL_WAIT_MAX_MS } from "../../../src/common/limits.ts";
import { type FakeSandbox, HELD_BYTES, LIMIT_BYTES, settle } from "./fakes.ts";
import { CACHE_MS, type BenchOptions, TableBench, type Tracked, told } from "./table-bench.ts";

/** Names of the lambdas. */
export const NAMES = ["f", "g", "h"] as const;

/** One thing that happens; `index` picks among what there is to pick from. */
export type Step =
  | { readonly kind: LambdaStep; readonly name: string }
  | { readonly kind: SingleStep; readonly index: number }
  | { readonly kind: GeneralStep }
  | { readonly kind: "wait"; readonly ms: number };

/** What happens to a lambda. */
type LambdaStep = "call" | "publish" | "delete" | "slow packages";

/** What happens to one call or one sandbox. */
type SingleStep = "answer" | "raise" | "hang up" | "kill" | "refuse thaw";

/** What happens to the engine or to the registry. */
type GeneralStep = "hold creations" | "hold removals" | "hold registry" | "fail start" | "let go";

/** Rounds in which everything that still runs must have come to its end. */
const ROUNDS_MAX = 60;

interface Call {
  readonly tracked: Tracked;
  readonly arrivedUs: number;
  hungUp: boolean;
  killed: boolean;
  raised: boolean;
}

const isLeaving = ({ state, isRemoved }: FakeSandbox): boolean =>
  state === "destroyed" && !isRemoved;

/** The layer, and what has happened to it. */
export class World implements AsyncDisposable {
  readonly #bench: TableBench;
  readonly #cachedBytes: number;
  readonly #calls: Call[] = [];
  /** When another version took the place of this one, by code and version. */
  readonly #supersededUs = new Map<string, number>();
  readonly #current = new Map<string, string | null>();
  #published = 0;
  #failures = 0;
  /** Whether packages or the registry ever took time: calls that wait for them may be overtaken. */
  #wasSlow = false;
  #letGo: (() => void)[] = [];

  /**
   * @param options of the bench
   * @param isLoading whether lambdas say that they are loaded: then an old version serves while the
   *   packages of a new one are installed
   */
  constructor(options: BenchOptions, isLoading: boolean) {
    this.#bench = new TableBench(options);
    this.#cachedBytes = (options.cached ?? 100) * HELD_BYTES;
    for (const name of NAMES) this.#publish(name);
    this.#bench.pool.prepare = (sandbox) => {
      sandbox.destroyGate = this.#removals;
      sandbox.importUs = isLoading ? 500 : 0;
    };
  }

  #removals: Promise<unknown> = Promise.resolve();

  /** Lets one thing happen, and all that follows from it. */
  async step(step: Step): Promise<void> {
    if ("index" in step) this.#toOne(step.kind, step.index);
    else if ("name" in step) this.#toLambda(step.kind, step.name);
    else if ("ms" in step) await this.#bench.pass(step.ms);
    else this.#toAll(step.kind);
    await settle();
    this.#check();
    if ("ms" in step && step.ms > CACHE_MS / 2) this.#checkCache();
  }

  /** Lets everything come to its end. */
  async finish(): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      this.#open();
      await settle();
      for (const running of this.#bench.pool.running) running.answer(Number(running.body));
      await this.#bench.pass(POOL_WAIT_MAX_MS / 10);
      if (this.#calls.every(({ tracked }) => tracked.done !== null)) break;
    }
    expect(this.#calls.filter(({ tracked }) => tracked.done === null)).toEqual([]);
    for (const call of this.#calls) this.#checkOutcome(call);
    await this.#bench.pass(CACHE_MS);
    this.#check();
    this.#checkCache();
  }

  /** Takes every lambda away and asks for it once more: then nothing may be left of them. */
  async vanish(): Promise<void> {
    for (const name of NAMES) this.#bench.registry.delete(name);
    await this.#bench.pass(CACHE_MS);
    for (const name of NAMES) {
      // After a registry that was slow, the first call is answered from what is in use.
      await this.#bench.call(name);
      expect(told(await this.#bench.call(name))).toBe("lambda_unknown");
    }
    await settle();
    this.#bench.expectNothingLeft();
  }

  /** Closes the layer: nothing of it may be left then. */
  async close(): Promise<void> {
    this.#open();
    await this.#bench.table.close();
    await settle();
    this.#bench.expectNothingLeft();
  }

  /** Removes everything, also where something was found wrong on the way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#open();
    await this.#bench[Symbol.asyncDispose]();
  }

  #toLambda(kind: LambdaStep, name: string): void {
    if (kind === "call") this.#begin(name);
    else if (kind === "publish") this.#publish(name);
    else if (kind === "delete") this.#supersede(name, null);
    else this.#publishSlowly(name);
  }

  #toAll(kind: GeneralStep): void {
    const { pool } = this.#bench;
    if (kind === "let go") this.#open();
    else if (kind === "hold creations") pool.gate = this.#gate();
    else if (kind === "hold removals") this.#removals = this.#gate();
    else if (kind === "hold registry") this.#holdRegistry();
    else {
      this.#failures += 1;
      pool.failures.push(new OlError("sandbox_create", "no"));
    }
  }

  #begin(name: string): void {
    const tracked = this.#bench.begin(name);
    const arrivedUs = this.#bench.clock.us;
    this.#calls.push({ tracked, arrivedUs, hungUp: false, killed: false, raised: false });
  }

  #supersede(name: string, id: string | null): void {
    const before = this.#current.get(name);
    if (before !== undefined && before !== null) {
      this.#supersededUs.set(`${name}/${before}`, this.#bench.clock.us);
    }
    this.#current.set(name, id);
    if (id === null) this.#bench.registry.delete(name);
    else this.#bench.registry.put(name, id);
  }

  #publish(name: string): string {
    this.#published += 1;
    const id = `version-${this.#published}`;
    this.#supersede(name, id);
    return id;
  }

  #publishSlowly(name: string): void {
    this.#wasSlow = true;
    const installed = { dirs: [{ dir: "numpy", modules: ["numpy"] }], imports: [], units: [] };
    const id = this.#publish(name);
    this.#bench.installer.answers.set(
      id,
      this.#gate().then(() => installed),
    );
  }

  #toOne(kind: SingleStep, index: number): void {
    const { pool } = this.#bench;
    const pick = <T>(all: readonly T[]): T | undefined => all[index % Math.max(1, all.length)];
    if (kind === "kill") {
      const victim = pick(pool.made.filter(({ state }) => state !== "destroyed"));
      for (const { body } of victim?.calls ?? []) this.#callOf(body).killed = true;
      void victim?.die();
    } else if (kind === "refuse thaw") {
      const victim = pick(pool.made.filter(({ state }) => state === "paused"));
      if (victim !== undefined) victim.broken.unpause = new Error("EIO");
    } else if (kind === "hang up") {
      const call = pick(this.#calls.filter(({ tracked }) => tracked.done === null));
      if (call === undefined) return;
      call.hungUp = true;
      call.tracked.hangUp();
    } else {
      const running = pick(pool.running);
      if (running === undefined) return;
      if (kind === "answer") running.answer(Number(running.body));
      else {
        this.#callOf(running.body).raised = true;
        running.fail(new OlError("lambda_exception", "no"));
      }
    }
  }

  #callOf(body: string): Call {
    return this.#calls.find(({ tracked }) => tracked.body === body)!;
  }

  #holdRegistry(): void {
    this.#wasSlow = true;
    this.#bench.registry.gate = this.#gate();
  }

  #gate(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#letGo.push(resolve);
    return promise;
  }

  #open(): void {
    for (const open of this.#letGo.splice(0)) open();
    this.#bench.pool.gate = Promise.resolve();
    this.#bench.registry.gate = Promise.resolve();
    this.#removals = Promise.resolve();
  }

  /** What holds at any time. */
  #check(): void {
    const { pool, table } = this.#bench;
    expect(pool.audit.violations).toEqual([]);
    expect(new Set(pool.audit.begun).size).toBe(pool.audit.begun.length);
    const stats = table.stats();
    const { poolBytes, reservedBytes } = stats.memory;
    expect(reservedBytes).toBeLessThanOrEqual(poolBytes);
    if (!pool.made.some(isLeaving)) {
      const due = pool.alive.map(({ state }) => (state === "paused" ? HELD_BYTES : LIMIT_BYTES));
      const dueBytes = due.reduce((sum, bytes) => sum + bytes, pool.creating * LIMIT_BYTES);
      expect(reservedBytes).toBe(dueBytes);
    }
    expect(stats.calls.inFlight).toBe(
      this.#calls.filter(({ tracked }) => tracked.done === null).length,
    );
    expect([stats.sandboxes.live, stats.sandboxes.busy]).toEqual([
      pool.live,
      pool.made.filter(({ calls }) => calls.length > 0).length,
    ]);
    for (const { spec } of pool.alive) expect(existsSync(spec.codeDir)).toBe(true);
    for (const running of pool.running) this.#checkVersion(this.#callOf(running.body));
    if (!this.#wasSlow) this.#checkOrder();
  }

  /** Calls of one lambda begin in the order of their arrival. */
  #checkOrder(): void {
    for (const name of NAMES) {
      const begun = this.#bench.pool.audit.begun
        .map((body) => this.#callOf(body))
        .filter(({ tracked }) => tracked.name === name)
        .map(({ tracked }) => Number(tracked.body));
      expect(begun).toEqual(begun.toSorted((a, b) => a - b));
    }
  }

  /** A call runs no code that was old for longer than the cache's time when it came. */
  #checkVersion({ tracked, arrivedUs }: Call): void {
    const sandbox = this.#bench.whereIs(tracked)!;
    const id = sandbox.spec.codeId.split("/").at(-1) ?? "";
    const supersededUs = this.#supersededUs.get(`${tracked.name}/${id}`) ?? arrivedUs;
    if (!this.#wasSlow) expect(supersededUs).toBeGreaterThanOrEqual(arrivedUs - CACHE_MS * 1000);
    const isInstalled = !this.#bench.installer.answers.has(id) || sandbox.spec.packages.length > 0;
    expect([id, isInstalled]).toEqual([id, true]);
  }

  /** What is paused fits the handler cache. */
  #checkCache(): void {
    const paused = this.#bench.pool.alive.filter(({ state }) => state === "paused");
    expect(paused.length * HELD_BYTES).toBeLessThanOrEqual(this.#cachedBytes);
  }

  /** A call went as it had to, with what was done to it. */
  #checkOutcome({ tracked, arrivedUs, hungUp, killed, raised }: Call): void {
    const allowed: unknown[] = ["queue_full", Number(tracked.body)];
    const waitedMs = (tracked.doneUs - arrivedUs) / 1000;
    if (waitedMs >= POOL_WAIT_MAX_MS) allowed.push("pool_exhausted");
    if (hungUp) allowed.push("cancelled");
    if (killed) allowed.push("sandbox_died");
    if (raised) allowed.push("lambda_exception");
    if (this.#failures > 0) allowed.push("sandbox_create");
    if ([...this.#current.values()].includes(null)) allowed.push("lambda_unknown");
    else if (this.#supersededUs.size > 0) allowed.push("lambda_unknown");
    expect(allowed).toContain(told(tracked.done));
  }
}
