/** What live sandboxes cost: memory, and time of the next cold start. */

import type { Cluster } from "../harness/cluster.ts";
import type { BenchContext, Experiment } from "../harness/experiment.ts";
import { residentBytes, usedMemoryBytes } from "../harness/memory.ts";
import { LATENCY } from "../harness/recorder.ts";
import { LoadError } from "../load/load-process.ts";
import { slopeOf, type Point } from "../stats/line.ts";
import { LEAVING, many, runPath } from "./lambdas.ts";
import { COLD, runStarting } from "./starts.ts";

const LEVELS = {
  full: [0, 10, 100, 500, 1000, 2000],
  small: [0, 100, 1000],
  smoke: [0, 5],
};

/** Live sandboxes below which memory per sandbox drowns in what else the machine does. */
const MEMORY_LEVEL_MIN = 100;

/** Sandboxes that come and go before the first look. */
const WARM_UP_SANDBOXES = 200;

/** Clients that fill or empty a level: that is not what is measured. */
const FILL_CLIENTS = 4;

/** Milliseconds between probes: one is gone, and tidied up after, before the next comes. */
const PROBE_SPACE_MS = 60;

/** Milliseconds for 2,000 sandboxes to come to rest. */
const SETTLE_MS = 120_000;

/** The sandboxes that live beside the probes. */
class Crowd {
  readonly #context: BenchContext;
  readonly #cluster: Cluster;
  #live = 0;

  constructor(context: BenchContext, cluster: Cluster) {
    this.#context = context;
    this.#cluster = cluster;
  }

  /** Brings it to a size and to rest: no probe lives, all others are paused. */
  async resize(size: number): Promise<void> {
    const [from, to] = [Math.min(size, this.#live), Math.max(size, this.#live)];
    if (from < to) {
      const leave = size < this.#live;
      const result = await this.#context.load.tryRun({
        port: this.#cluster.port,
        paths: Array.from({ length: to - from }, (_, i) => runPath(`crowd-${from + i}`)),
        arrivals: { kind: "closed", clients: Math.min(FILL_CLIENTS, to - from) },
        count: to - from,
        extra: leave ? { leave: true } : {},
        seed: "crowd",
      });
      // One that ends before its answer is written has left as well.
      const { "status 502": ended = 0, ...others } = result.failures;
      if (Object.keys(others).length > 0 || (ended > 0 && !leave)) throw new LoadError(result);
    }
    this.#live = size;
    await this.#cluster.until(
      `${size} sandboxes are live and paused`,
      ({ sandboxes: { live, paused } }) => live === size && paused === size,
      SETTLE_MS,
    );
  }
}

/** Lambdas that probe; each is called once per visit, so that no call meets a process that is about to end. */
const PROBES = { full: 30, small: 20, smoke: 3 };

const probesOf = (context: BenchContext): string[] =>
  Object.keys(many(context.size(PROBES), LEAVING, "probe"));

/** Cold starts of sandboxes that are gone before the next one. */
async function probe(
  context: BenchContext,
  cluster: Cluster,
  at: { level: number; visit: string },
): Promise<void> {
  const id = `cold-${at.level}`;
  const { latencyUs } = await runStarting(
    context,
    { id, accepted: COLD },
    {
      port: cluster.port,
      paths: probesOf(context).map(runPath),
      arrivals: { kind: "constant", ratePerS: 1000 / PROBE_SPACE_MS, connectionsMax: 8 },
      count: context.size(PROBES),
      warmupCount: 0,
      extra: { leave: true },
      seed: `${id}/${at.visit}`,
    },
  );
  const label = `cold start among ${at.level} live sandboxes`;
  const curve = { name: "cold start", x: at.level };
  context.recorder.add({ ...LATENCY, id, label, curve }, latencyUs);
}

/** Memory of one pass over the levels. */
function recordMemory(context: BenchContext, points: readonly Point[]): void {
  const bytes = { ...LATENCY, unit: "bytes" } as const;
  const empty = points.find(({ x }) => x === 0)?.y ?? Number.NaN;
  for (const { x, y } of points.filter((point) => point.x >= MEMORY_LEVEL_MIN)) {
    const curve = { name: "memory per sandbox", x };
    const label = `memory per sandbox, ${x} live sandboxes`;
    const each = [(y - empty) / x];
    context.recorder.add({ ...bytes, id: `memory-each-${x}`, label, curve }, each);
  }
  const large = points.filter(({ x }) => x === 0 || x >= MEMORY_LEVEL_MIN);
  if (large.length < 3) return;
  const label = "memory per sandbox, slope over the levels";
  context.recorder.add({ ...bytes, id: "memory-slope", label }, [slopeOf(large)]);
}

/** Memory and cold latency from no live sandbox to 2,000, up and down several times. */
export const density: Experiment = {
  name: "density",
  title: "Density",
  question:
    "What does a live sandbox cost, and does the next one start as fast among 2,000 others?",
  minutes: 4,
  run: async (context) => {
    const { recorder } = context;
    const levels = LEVELS[context.scale];
    const cluster = await context.cluster({
      config: {
        // Live sandboxes are the subject: nothing may evict them.
        handler_cache_size: 64 * 2 ** 20,
        mem_pool_mb: 512 * 1024,
        limits: { mem_mb: 64 },
        // A probe must not ask the registry again because the last visit was long ago.
        registry_cache_ms: 86_400_000,
      },
      lambdas: {
        ...many(context.size(PROBES), LEAVING, "probe"),
        ...many(levels.at(-1) ?? 0, LEAVING, "crowd"),
      },
    });
    recorder.parameter("limits.mem_mb", 64);
    const crowd = new Crowd(context, cluster);
    // Worker, zygote and stocks of spare parts reach their working size.
    await crowd.resize(Math.min(WARM_UP_SANDBOXES, levels.at(-1) ?? 0));
    for (const name of probesOf(context)) await cluster.call(name, { leave: true });
    await crowd.resize(0);
    const cycles = context.size({ full: 4, small: 2, smoke: 1 });
    recorder.parameter("passes up and down", cycles);
    for (let cycle = 0; cycle < cycles; cycle++) {
      for (const pass of [levels, levels.toReversed()]) {
        const memory: Point[] = [];
        for (const level of pass) {
          await crowd.resize(level);
          memory.push({ x: level, y: usedMemoryBytes() });
          await probe(context, cluster, { level, visit: `${cycle}${pass === levels ? "u" : "d"}` });
          const label = `worker's own memory, ${level} live sandboxes`;
          const curve = { name: "worker", x: level };
          recorder.add(
            { ...LATENCY, unit: "bytes", id: `worker-rss-${level}`, label, role: "context", curve },
            [residentBytes(cluster.workerPid())],
          );
        }
        recordMemory(context, memory);
        context.log(`pass ${cycle + 1} ${pass === levels ? "up" : "down"} of ${cycles}`);
      }
    }
    await crowd.resize(0);
  },
};
