/** The suite's handle on the load generator's process. */

import { LineProcess } from "../harness/line-process.ts";
import type { LoadPlan, LoadResult } from "./plan.ts";
import { PLAN_DEFAULTS } from "./plan.ts";

/**
 * What a caller must say about a burst; the rest has defaults. The seed is a label such as `cold/3`: bursts
 * with equal labels get equal draws, in one run.
 */
export type LoadRequest = Partial<LoadPlan> &
  Pick<LoadPlan, "port" | "paths" | "arrivals" | "seed">;

/** A burst that was not answered as it should have been. */
export class LoadError extends Error {
  override readonly name = "LoadError";
  readonly result: LoadResult;

  /** @param result what came back */
  constructor(result: LoadResult) {
    const failures = Object.entries(result.failures).map(
      ([reason, count]) => `${count} x ${reason}`,
    );
    super(
      `Cannot use a burst of ${result.latencyUs.length} good calls: ${failures.join(", ")}; ` +
        `the first was ${result.firstFailure}`,
    );
    this.result = result;
  }
}

/** Sends bursts, one after another. */
export class LoadProcess {
  readonly #process: LineProcess;
  readonly #seed: string;

  private constructor(lines: LineProcess, seed: string) {
    this.#process = lines;
    this.#seed = seed;
  }

  /**
   * Starts the generator.
   * @param seed of the run and the experiment; the seed of each burst derives from it
   */
  static start(seed: string): LoadProcess {
    const script = new URL("main.ts", import.meta.url).pathname;
    return new LoadProcess(new LineProcess([process.execPath, script]), seed);
  }

  /**
   * @param request the burst
   * @returns what happened, failures included
   * @throws {Error} when the server cannot be reached
   */
  async tryRun(request: LoadRequest): Promise<LoadResult> {
    const seed = `${this.#seed}/${request.seed}`;
    const reply = (await this.#process.ask({ ...PLAN_DEFAULTS, ...request, seed })) as
      | { readonly result: LoadResult }
      | { readonly error: string };
    if ("error" in reply) throw new Error(`Cannot send load: ${reply.error}`);
    return reply.result;
  }

  /**
   * @param request the burst
   * @returns what happened
   * @throws {LoadError} when any call failed or any answer belonged to another call
   */
  async run(request: LoadRequest): Promise<LoadResult> {
    const result = await this.tryRun(request);
    if (Object.keys(result.failures).length > 0) throw new LoadError(result);
    return result;
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.#process.close();
  }
}
