/** What live sandboxes cost: memory, and time of the next cold start. */

import type { Cluster } from "../harness/cluster.ts";
import type { BenchContext, Experiment } from "../harness/experiment.ts";
import { descendants, residentBytes, usedMemoryBytes } from "../harness/memory.ts";
import { LATENCY } from "../harness/recorder.ts";
import { ECHO, many, runPath } from "./lambdas.ts";

const LEVELS = {
  full: [0, 10, 100, 250, 500, 1000, 1500, 2000],
  small: [0, 100, 1000],
  smoke: [0, 5],
};

/** Clients that fill a level: filling is not what is measured. */
const FILL_CLIENTS = 4;

/** First calls of lambdas `from` up to `to`: each makes one sandbox that stays. */
async function firstCalls(
  context: BenchContext,
  cluster: Cluster,
  range: { from: number; to: number },
  clients: number,
): Promise<number[]> {
  const paths = Array.from({ length: range.to - range.from }, (_, i) =>
    runPath(`echo-${range.from + i}`),
  );
  if (paths.length === 0) return [];
  const result = await context.load.run({
    port: cluster.port,
    paths,
    arrivals: { kind: "closed", clients: Math.min(clients, paths.length) },
    count: paths.length,
    details: true,
    seed: "density",
  });
  const reused = result.start.filter((start) => start === "warm" || start === "unpaused").length;
  if (reused > 0) context.recorder.note(`${reused} first calls were not cold`);
  return result.latencyUs;
}

/** Memory and cold latency from no live sandbox to 2,000. */
export const density: Experiment = {
  name: "density",
  title: "Density",
  question:
    "What does a live sandbox cost, and does the next one start as fast among 2,000 others?",
  run: async (context) => {
    const { recorder } = context;
    const levels = LEVELS[context.scale];
    const probes = context.size({ full: 60, small: 30, smoke: 3 });
    const total = (levels.at(-1) ?? 0) + probes * levels.length;
    const cluster = await context.cluster({
      config: {
        // Live sandboxes are the subject: nothing may evict them.
        handler_cache_size: 64 * 2 ** 20,
        mem_pool_mb: 512 * 1024,
        limits: { mem_mb: 64 },
      },
      lambdas: many(total, ECHO),
    });
    recorder.parameter("probes per level", probes);
    recorder.parameter("limits.mem_mb", 64);
    // The first sandbox brings the worker and its zygote to their working size.
    await firstCalls(context, cluster, { from: 0, to: 1 }, 1);
    const emptyBytes = usedMemoryBytes();
    let live = 1;
    for (const level of levels) {
      if (level > live) await firstCalls(context, cluster, { from: live, to: level }, FILL_CLIENTS);
      live = Math.max(live, level);
      const usedBytes = usedMemoryBytes();
      const cold = await firstCalls(context, cluster, { from: live, to: live + probes }, 1);
      const { sandboxes } = await cluster.stats();
      const point = (name: string) => ({ name, x: level });
      const label = `${level} live sandboxes`;
      recorder.add(
        {
          ...LATENCY,
          id: `cold-${level}`,
          label: `cold start among ${label}`,
          curve: point("cold start"),
        },
        cold,
      );
      const bytes = { ...LATENCY, unit: "bytes" } as const;
      if (level >= 100) {
        recorder.add(
          {
            ...bytes,
            id: `memory-each-${level}`,
            label: `memory per sandbox, ${label}`,
            curve: point("memory per sandbox"),
          },
          [(usedBytes - emptyBytes) / (live - 1)],
        );
      }
      recorder.add(
        {
          ...bytes,
          id: `worker-rss-${level}`,
          label: `worker's own memory, ${label}`,
          role: "context",
          curve: point("worker"),
        },
        [residentBytes(cluster.workerPid())],
      );
      live += probes;
      if (sandboxes.live < live)
        recorder.note(`at level ${level} only ${sandboxes.live} of ${live} were live`);
      context.log(`${label}: ${descendants(cluster.workerPid())} processes`);
    }
  },
};
