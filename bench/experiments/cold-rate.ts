/** How many new sandboxes per second, whoever asks. */

import { interleave, type Experiment } from "../harness/experiment.ts";
import { LATENCY, RATE } from "../harness/recorder.ts";
import { ECHO, runPath } from "./lambdas.ts";
import { COLD, runStarting } from "./starts.ts";

const CLIENTS = [1, 2, 4, 8, 16];

/** Cold starts per second over clients, full isolation. */
export const coldRate: Experiment = {
  name: "cold-rate",
  title: "Cold starts per second",
  question: "How many calls per second are answered when each needs a new sandbox?",
  minutes: 3,
  run: async (context) => {
    const { recorder } = context;
    const cluster = await context.cluster({
      config: { handler_cache_size: 0 },
      lambdas: { echo: ECHO },
    });
    const floor = await context.floor();
    const durationMs = context.size({ full: 2500, small: 1500, smoke: 100 });
    recorder.parameter("milliseconds per round", durationMs);
    const clients = context.scale === "smoke" ? [4] : CLIENTS;
    const cold = clients.map((count) => ({
      name: `clients-${count}`,
      run: async (round: number) => {
        const id = `clients-${count}`;
        const { latencyUs, ratePerS } = await runStarting(
          context,
          { id, accepted: COLD },
          {
            port: cluster.port,
            paths: [runPath("echo")],
            arrivals: { kind: "closed", clients: count },
            durationMs,
            warmupCount: count,
            seed: `${id}/${round}`,
          },
        );
        const curve = { name: "cold starts", x: count };
        recorder.add({ ...RATE, id: `rate-${id}`, label: `cold starts, ${count} clients`, curve }, [
          ratePerS,
        ]);
        recorder.add(
          {
            ...LATENCY,
            id,
            label: `cold latency, ${count} clients`,
            curve: { name: "latency", x: count },
          },
          latencyUs,
        );
      },
    }));
    const reference = {
      name: "floor",
      run: async () => {
        const count = context.size({ full: 200, small: 100, smoke: 5 });
        const samples = await floor.time("namespaces", count);
        const seconds = samples.reduce((sum, us) => sum + us, 0) / 1e6;
        recorder.add(
          {
            ...RATE,
            id: "rate-floor",
            label: "bare floor, one after another",
            role: "reference",
          },
          [count / seconds],
        );
      },
    };
    await interleave(context, context.size({ full: 10, small: 4, smoke: 1 }), [...cold, reference]);
  },
};
