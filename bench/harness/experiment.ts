/** What an experiment is, and what it is given. */

import type { LoadProcess } from "../load/load-process.ts";
import type { FloorProcess } from "../reference/floor-process.ts";
import type { Random } from "../stats/random.ts";
import type { Cluster, ClusterOptions } from "./cluster.ts";
import type { Recorder } from "./recorder.ts";
import type { Scale } from "./results.ts";

/** A quantity for each scale. */
export type Sizes = Readonly<Record<Scale, number>>;

/** Everything that an experiment may use; what it opens here is closed for it. */
export interface BenchContext {
  /** Path of the executable under test. */
  readonly ol: string;
  readonly scale: Scale;
  readonly random: Random;
  readonly recorder: Recorder;
  readonly load: LoadProcess;
  /** Bare forks and interpreters, timed inside a Python of their own. */
  floor(): Promise<FloorProcess>;
  /** A cluster with one worker of its own; stopped when the experiment ends, if not before. */
  cluster(options?: ClusterOptions): Promise<Cluster>;
  /** A directory of this experiment's own. */
  scratch(label: string): Promise<string>;
  /** Closes `resource` when the experiment ends. */
  own<T extends { close(): Promise<void> }>(resource: T): T;
  /** @returns the quantity for this run's scale */
  size(sizes: Sizes): number;
  log(text: string): void;
}

/** One question to the system. */
export interface Experiment {
  /** On the command line and in results; kebab-case. */
  readonly name: string;
  readonly title: string;
  readonly question: string;
  /** About how long it takes at full scale on 2 quiet cores. */
  readonly minutes: number;
  run(context: BenchContext): Promise<void>;
}

/** One of the things that take turns. */
export interface Arm {
  readonly name: string;
  /** Measures one round and records it. */
  run(round: number): Promise<void>;
}

/**
 * Lets all arms take turns, in an order drawn anew for each round, so that a slow minute of the
 * machine hits all of them alike.
 * @param context of the experiment
 * @param rounds how often each arm runs
 * @param arms what takes turns
 */
export async function interleave(
  context: BenchContext,
  rounds: number,
  arms: readonly Arm[],
): Promise<void> {
  context.recorder.parameter("rounds", rounds);
  const order = context.random.fork("interleave");
  for (let round = 0; round < rounds; round++) {
    for (const arm of order.shuffled(arms)) await arm.run(round);
    context.log(`round ${round + 1} of ${rounds}`);
  }
}
