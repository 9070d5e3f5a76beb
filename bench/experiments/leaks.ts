/** 1,000 sandboxes come and go: what stays? */

import type { Experiment } from "../harness/experiment.ts";
import { holdings, type Holdings } from "../harness/memory.ts";
import { LATENCY } from "../harness/recorder.ts";
import { ECHO, runPath } from "./lambdas.ts";

const KINDS: readonly (readonly [keyof Holdings, string, "count" | "bytes"])[] = [
  ["mounts", "mounts in the namespaces of the worker and its family", "count"],
  ["cgroups", "cgroup directories of the worker", "count"],
  ["processes", "processes below the worker", "count"],
  ["workerFds", "descriptors of the worker", "count"],
  ["scratchEntries", "files of instances", "count"],
  ["workerRssBytes", "memory of the worker", "bytes"],
  ["usedBytes", "memory of the machine", "bytes"],
];

/** Milliseconds between two looks, and in all, while stocks of spare parts fill up again. */
const LOOK_MS = 250;
const SETTLE_MS = 10_000;

/** What only the worker changes: memory never stands still. */
const counts = (held: Holdings): string =>
  JSON.stringify({ ...held, workerRssBytes: 0, usedBytes: 0 });

/** Counts, once two looks in a row agree. */
async function settled(look: () => Holdings): Promise<Holdings> {
  const deadline = performance.now() + SETTLE_MS;
  let last = look();
  for (;;) {
    await Bun.sleep(LOOK_MS);
    const now = look();
    if (counts(now) === counts(last) || performance.now() > deadline) return now;
    last = now;
  }
}

/** Counts of everything before and after 1,000 create-destroy cycles. */
export const leaks: Experiment = {
  name: "leaks",
  title: "Leaks",
  question: "What is left over after 1,000 creates and destroys?",
  minutes: 1,
  run: async (context) => {
    const cluster = await context.cluster({
      config: { handler_cache_size: 0 },
      lambdas: { echo: ECHO },
    });
    const cycles = context.size({ full: 1000, small: 1000, smoke: 20 });
    context.recorder.parameter("cycles", cycles);
    const burst = async (count: number, seed: string): Promise<void> => {
      await context.load.run({
        port: cluster.port,
        paths: [runPath("echo")],
        arrivals: { kind: "closed", clients: 4 },
        count,
        seed,
      });
      await cluster.until("no sandbox lives", (figures) => figures.sandboxes.live === 0);
    };
    // Pools and the worker's heap reach their working size first: that is use, not a leak. A second burst, since
    // the stock of output files (64 descriptors at most) was two files short of that after one.
    for (const part of ["warm-up", "more"]) await burst(cycles, part);
    const first = await settled(() => holdings(cluster.workerPid(), cluster.dir));
    for (const [kind] of KINDS) context.recorder.parameter(`${kind} before`, first[kind]);
    const rounds = context.size({ full: 8, small: 4, smoke: 1 });
    context.recorder.parameter("rounds", rounds);
    for (let round = 0; round < rounds; round++) {
      await burst(cycles, `cycle/${round}`);
      const now = await settled(() => holdings(cluster.workerPid(), cluster.dir));
      for (const [kind, label, unit] of KINDS) {
        const id = `left-${kind}`;
        const role = kind === "usedBytes" ? "context" : "subject";
        // Against the first look, not the one before: what grows a little each time must add up.
        const left = [now[kind] - first[kind]];
        context.recorder.add({ ...LATENCY, unit, id, label: `left over: ${label}`, role }, left);
      }
    }
    context.recorder.note(
      "each sample is what is there beyond the first look; a leak grows from sample to sample, a heap or a " +
        "pool of spare parts breathes; memory of the machine counts what other programs do too",
    );
  },
};
