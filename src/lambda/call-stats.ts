/** Counters and latencies of calls, for `/stats` and `/metrics`. */

import type { ErrorCode } from "../common/errors.ts";
import { LatencyHistogram } from "../common/histogram.ts";
import type { RunOutcome, StageStats, StartKind, WorkerStats } from "./contract.ts";

const STAGES = [
  "total",
  "queue",
  "pull",
  "install",
  "sandbox",
  "import",
  "handler",
  "guest",
] as const;

/** Counts what happened to calls since the worker started. */
export class CallStats {
  readonly #byStart: Record<StartKind, number> = { warm: 0, unpaused: 0, zygote: 0, fresh: 0 };
  readonly #byError = new Map<ErrorCode, number>();
  readonly #stages = new Map(STAGES.map((stage) => [stage, new LatencyHistogram()]));
  #total = 0;
  #inFlight = 0;

  /** Calls that came in and are not over. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** A call came in. */
  begin(): void {
    this.#inFlight += 1;
  }

  /**
   * A call is over.
   * @param outcome how it went
   */
  end(outcome: RunOutcome): void {
    this.#inFlight -= 1;
    this.#total += 1;
    if (outcome.error !== null) this.#countError(outcome.error.code);
    if (outcome.start === null) return;
    this.#byStart[outcome.start] += 1;
    const { timing } = outcome;
    this.#record("total", timing.totalUs);
    this.#record("queue", timing.queueUs);
    if (timing.pullUs > 0) this.#record("pull", timing.pullUs);
    if (timing.installUs > 0) this.#record("install", timing.installUs);
    this.#record("handler", timing.handlerUs);
    this.#record("guest", timing.guestUs);
    if (outcome.start === "warm") return;
    this.#record("sandbox", timing.sandboxUs);
    if (outcome.start !== "unpaused") this.#record("import", timing.importUs);
  }

  /**
   * A call was answered before it began.
   * @param code why
   */
  refuse(code: ErrorCode): void {
    this.#total += 1;
    this.#countError(code);
  }

  /** @returns calls as in `WorkerStats.calls`, but for the queue */
  calls(): Omit<WorkerStats["calls"], "queued"> {
    return {
      total: this.#total,
      inFlight: this.#inFlight,
      byStart: { ...this.#byStart },
      byError: Object.fromEntries(this.#byError),
    };
  }

  /** @returns latencies as in `WorkerStats.stages` */
  stages(): WorkerStats["stages"] {
    const entries = STAGES.map((stage): [string, StageStats] => {
      const histogram = this.#stages.get(stage);
      return [stage, histogram?.summary() ?? { count: 0, p50: 0, p90: 0, p99: 0 }];
    });
    return Object.fromEntries(entries) as WorkerStats["stages"];
  }

  #countError(code: ErrorCode): void {
    this.#byError.set(code, (this.#byError.get(code) ?? 0) + 1);
  }

  #record(stage: (typeof STAGES)[number], us: number): void {
    this.#stages.get(stage)?.record(us);
  }
}
