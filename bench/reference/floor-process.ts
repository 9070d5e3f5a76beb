/** The suite's handle on `floor.py`. */

import { LineProcess } from "../harness/line-process.ts";

/** What can be timed; `floor.py` says what each is. */
export type FloorVariant =
  | "fork"
  | "namespaces"
  | "userns"
  | "network"
  | "spawn"
  | "python"
  | "python-isolated"
  | "chroot-python";

/** A Python that times forks and program starts. */
export class FloorProcess {
  readonly #process: LineProcess;

  /** @param baseDir empty directory that becomes a root with the host's programs, seen by it alone */
  constructor(baseDir: string) {
    const script = new URL("floor.py", import.meta.url).pathname;
    this.#process = new LineProcess(["/usr/bin/python3", script, baseDir], {
      PATH: "/usr/bin:/bin",
      // As handlers have it: a thread per core would be started at import otherwise.
      OPENBLAS_NUM_THREADS: "1",
      OMP_NUM_THREADS: "1",
    });
  }

  /**
   * @param variant what to time
   * @param count samples to take
   * @param warmup runs before the first sample
   * @returns microseconds, one per sample
   * @throws {Error} with Python's words
   */
  async time(variant: FloorVariant, count: number, warmup = 2): Promise<number[]> {
    return await this.#ask({ variant, count, warmup });
  }

  /**
   * @param modules to import, each time as if it were the first
   * @param path directories to find them in
   * @param count samples to take
   */
  async timeImport(
    modules: readonly string[],
    path: readonly string[],
    count: number,
  ): Promise<number[]> {
    return await this.#ask({ variant: "import", modules, path, count, warmup: 1 });
  }

  async #ask(question: unknown): Promise<number[]> {
    const answer = (await this.#process.ask(question)) as { samples?: number[]; error?: string };
    if (answer.samples === undefined) throw new Error(`Cannot time the floor: ${answer.error}`);
    return answer.samples;
  }

  /** Ends the process; its base goes with it. */
  async close(): Promise<void> {
    await this.#process.close();
  }
}
