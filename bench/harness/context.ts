/** Makes what experiments are given, and closes whatever they opened, in reverse, whatever happened. */

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { LoadProcess } from "../load/load-process.ts";
import { FloorProcess } from "../reference/floor-process.ts";
import { Random } from "../stats/random.ts";
import { Cluster, type ClusterOptions } from "./cluster.ts";
import type { BenchContext, Sizes } from "./experiment.ts";
import { progress } from "./output.ts";
import { Recorder } from "./recorder.ts";
import type { Scale } from "./results.ts";

/** What a context is made of. */
export interface ContextOptions {
  readonly ol: string;
  readonly scale: Scale;
  readonly seed: string;
  /** Of the experiment. */
  readonly name: string;
  /** Directory for everything that the run leaves behind while it runs. */
  readonly workDir: string;
}

/** A context and its end. */
export class ExperimentContext implements BenchContext {
  readonly ol: string;
  readonly scale: Scale;
  readonly random: Random;
  readonly recorder = new Recorder();
  readonly load: LoadProcess;
  readonly #owned: { close(): Promise<void> }[] = [];
  readonly #name: string;
  readonly #dir: string;
  #floor: FloorProcess | null = null;
  #dirs = 0;

  /** @param options of the run and the experiment */
  constructor(options: ContextOptions) {
    this.ol = options.ol;
    this.scale = options.scale;
    this.#name = options.name;
    this.#dir = join(options.workDir, options.name);
    this.random = new Random(`${options.seed}/${options.name}`);
    rmSync(this.#dir, { recursive: true, force: true });
    mkdirSync(this.#dir, { recursive: true });
    this.load = this.own(LoadProcess.start(`${options.seed}/${options.name}`));
  }

  async floor(): Promise<FloorProcess> {
    this.#floor ??= this.own(new FloorProcess(await this.scratch("floor-base")));
    return this.#floor;
  }

  async cluster(options: ClusterOptions = {}): Promise<Cluster> {
    const dir = join(this.#dir, `cluster-${this.#dirs++}`);
    return this.own(await Cluster.start(this.ol, dir, options));
  }

  async scratch(label: string): Promise<string> {
    const dir = join(this.#dir, `${label}-${this.#dirs++}`);
    mkdirSync(dir);
    return await Promise.resolve(dir);
  }

  own<T extends { close(): Promise<void> }>(resource: T): T {
    this.#owned.push(resource);
    return resource;
  }

  size(sizes: Sizes): number {
    return sizes[this.scale];
  }

  log(text: string): void {
    progress(`  ${this.#name}: ${text}`);
  }

  /**
   * Closes everything; every resource is tried.
   * @returns what went wrong while doing so
   */
  async close(): Promise<string[]> {
    const problems: string[] = [];
    for (const resource of this.#owned.toReversed()) {
      await resource.close().catch((error: unknown) => problems.push(String(error)));
    }
    rmSync(this.#dir, { recursive: true, force: true });
    return problems;
  }
}
