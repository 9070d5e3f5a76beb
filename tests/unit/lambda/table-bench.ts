/**
 * A whole lambda layer over fakes, with timers that stand still: time is the test's, for the clock and
 * for everything that waits.
 */

import { expect, jest } from "bun:test";
import type { OlError } from "../../../src/common/errors.ts";
import { silentLogger } from "../../../src/common/log.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import type { RunOutcome } from "../../../src/lambda/contract.ts";
import { LambdaTable } from "../../../src/lambda/lambda-table.ts";
import type { ImportCache } from "../../../src/zygote/import-cache.ts";
import { removeShared, type TempDir, tempDir } from "../../helpers/temp-dir.ts";
import {
  FakeClock,
  FakeInstaller,
  FakePool,
  FakeRegistry,
  type FakeSandbox,
  HELD_BYTES,
  LIMIT_BYTES,
  MIB,
  settle,
} from "./fakes.ts";

/** How long the registry is not asked again. */
export const CACHE_MS = 5_000;

/** Steps in which time passes: short enough for every timer of the layer to be on time. */
const STEP_MS = 50;

/** Settings of a bench. */
export interface BenchOptions {
  /** Sandboxes for which there is memory while they run; default 8. */
  readonly sandboxes?: number;
  /** `max_runners`; default 1. */
  readonly concurrency?: number;
  /** `max_queue`; default 1000. */
  readonly queueMax?: number;
  /** Paused sandboxes that the handler cache holds; default 100, 0 switches it off. */
  readonly cached?: number;
  /** Default: none. */
  readonly imports?: ImportCache;
}

/** A call that was given to the layer. */
export interface Tracked {
  readonly name: string;
  /** Unlike that of every other call of the bench. */
  readonly body: string;
  readonly outcome: Promise<RunOutcome>;
  /** How it went, once that is known. */
  readonly done: RunOutcome | null;
  /** When that was. */
  readonly doneUs: number;
  hangUp(): void;
}

/** The layer and what is below it. */
export class TableBench implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly pool = new FakePool();
  readonly registry = new FakeRegistry();
  readonly installer = new FakeInstaller();
  readonly table: LambdaTable;
  readonly dir: TempDir;
  #calls = 0;

  constructor(options: BenchOptions = {}) {
    jest.useFakeTimers();
    this.dir = tempDir();
    const { sandboxes = 8, concurrency = 1, queueMax = 1_000, cached = 100 } = options;
    const config = parseConfig(
      {
        worker_port: 1024,
        worker_dir: this.dir.path,
        registry_dir: this.dir.path,
        sock_base_path: this.dir.path,
        Pkgs_dir: this.dir.path,
        registry_cache_ms: CACHE_MS,
        max_runners: concurrency,
        max_queue: queueMax,
        handler_cache_size: (cached * HELD_BYTES) / 1024,
        mem_pool_mb: (sandboxes * LIMIT_BYTES) / MIB,
        limits: { mem_mb: LIMIT_BYTES / MIB },
      },
      "the test",
    );
    this.table = new LambdaTable({
      config,
      pool: this.pool,
      registry: this.registry,
      installer: this.installer,
      imports: options.imports ?? null,
      clock: this.clock,
      log: silentLogger,
    });
    this.registry.put("f", "one");
  }

  /**
   * Gives a call to the layer.
   * @param name of a lambda
   * @param abort of the client, where it is to be one that is there already
   */
  begin(name = "f", abort = new AbortController()): Tracked {
    this.#calls += 1;
    const body = String(this.#calls);
    const { signal } = abort;
    const outcome = this.table.run({ name, body: Buffer.from(body), requestId: body, signal });
    const tracked = {
      name,
      body,
      outcome,
      done: null as RunOutcome | null,
      doneUs: 0,
      hangUp: () => abort.abort(),
    };
    void this.#watch(tracked);
    return tracked;
  }

  async #watch(tracked: {
    outcome: Promise<RunOutcome>;
    done: RunOutcome | null;
    doneUs: number;
  }): Promise<void> {
    tracked.done = await tracked.outcome;
    tracked.doneUs = this.clock.us;
  }

  /** Begins a call and answers it. @returns how it went */
  async call(name = "f"): Promise<RunOutcome> {
    const tracked = this.begin(name);
    await settle();
    this.answer(tracked);
    return await tracked.outcome;
  }

  /** Where a call runs, or null where it does not. */
  whereIs(tracked: Tracked): FakeSandbox | null {
    const runs = (sandbox: FakeSandbox): boolean =>
      sandbox.calls.some(({ body }) => body === tracked.body);
    return this.pool.made.find(runs) ?? null;
  }

  /** Ends a call that runs with its own body as the answer. */
  answer(tracked: Tracked): void {
    const running = this.pool.running.find(({ body }) => body === tracked.body);
    running?.answer(Number(tracked.body));
  }

  /** Ends a call that runs with an error. */
  fail(tracked: Tracked, error: OlError): void {
    this.pool.running.find(({ body }) => body === tracked.body)?.fail(error);
  }

  /** Lets time pass for the clock and for every timer. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= STEP_MS) {
      const stepMs = Math.min(left, STEP_MS);
      this.clock.advanceMs(stepMs);
      jest.advanceTimersByTime(stepMs);
      await settle();
    }
  }

  /** Bytes promised by the layer; they must be what its sandboxes are due. */
  get reservedBytes(): number {
    return this.table.stats().memory.reservedBytes;
  }

  /** Nothing is wrong with what was asked of the sandboxes, and nothing of them is left. */
  expectNothingLeft(): void {
    expect([this.pool.audit.violations, this.pool.live, this.reservedBytes]).toEqual([[], 0, 0]);
    const { sandboxes, calls } = this.table.stats();
    expect([sandboxes.live, calls.inFlight, calls.queued]).toEqual([0, 0, 0]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.table.close();
    await settle();
    jest.useRealTimers();
    await removeShared(this.dir);
    expect(this.pool.audit.violations).toEqual([]);
  }
}

/**
 * @param outcome how a call went
 * @returns its value, or the code of its error
 */
export function told(outcome: RunOutcome | null): unknown {
  if (outcome === null) return "nothing yet";
  if (outcome.error !== null) return outcome.error.code;
  return JSON.parse(Buffer.from(outcome.body ?? "").toString()) as unknown;
}
