/**
 * The microbenchmarks: single calls in one process with mitata, as a user of `fetch` sees them. Their worth is
 * in small differences between two commits; what the worker itself takes is in `cold-start`.
 */

import { measure } from "mitata";

import { interleave, type Arm, type BenchContext, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import { HttpProcess } from "../reference/http-process.ts";
import { ECHO, runPath } from "./lambdas.ts";

const BODY = '{"nonce": "micro"}';

/** One thing to call again and again. */
interface Target {
  readonly id: string;
  readonly label: string;
  readonly port: number;
  readonly path: string;
  readonly reference: boolean;
  /** Values of `x-ol-start` that belong to it; null: it is no lambda. */
  readonly accepted: readonly string[] | null;
}

function arm(context: BenchContext, target: Target, samplesMin: number): Arm {
  const { id, label, path, accepted } = target;
  const url = `http://127.0.0.1:${target.port}${path}`;
  const init = path === "/status" ? {} : { method: "POST", body: BODY };
  const strange = new Set<string>();
  const call = async (): Promise<void> => {
    const response = await fetch(url, init);
    await response.arrayBuffer();
    const start = response.headers.get("x-ol-start") ?? "";
    if (!response.ok) strange.add(`status ${response.status}`);
    else if (accepted !== null && !accepted.includes(start)) strange.add(start);
  };
  return {
    name: id,
    run: async () => {
      for (let i = 0; i < 5; i++) await call();
      strange.clear();
      // One call per sample: batches would hide the distribution.
      const { samples } = await measure(call, {
        batch_threshold: 0,
        min_samples: samplesMin,
        min_cpu_time: 0,
      });
      if (strange.size > 0) {
        context.recorder.note(`a round of "${id}" was left out: ${[...strange].join(", ")}`);
        return;
      }
      const role = target.reference ? "reference" : "subject";
      const us = samples.map((ns) => ns / 1000);
      context.recorder.add({ ...LATENCY, id, label, role }, us);
    },
  };
}

/** Status, warm and cold calls through `fetch`, timed by mitata. */
export const micro: Experiment = {
  name: "micro",
  title: "Microbenchmarks",
  question: "What do single calls through fetch take, by mitata?",
  minutes: 1,
  run: async (context) => {
    const warm = await context.cluster({ lambdas: { echo: ECHO } });
    const cold = await context.cluster({
      config: { handler_cache_size: 0 },
      lambdas: { echo: ECHO },
    });
    const bun = context.own(await HttpProcess.start("bun"));
    const path = runPath("echo");
    const lambda = { path, reference: false };
    const targets: readonly Target[] = [
      { ...lambda, id: "cold", label: "cold call", port: cold.port, accepted: ["fresh", "zygote"] },
      { ...lambda, id: "warm", label: "warm call", port: warm.port, accepted: ["warm"] },
      {
        id: "status",
        label: "GET /status",
        port: warm.port,
        path: "/status",
        reference: true,
        accepted: null,
      },
      { id: "bun", label: "raw Bun.serve", port: bun.port, path, reference: true, accepted: null },
    ];
    const samples = context.size({ full: 300, small: 100, smoke: 10 });
    const arms = targets.map((target) => arm(context, target, samples));
    await interleave(context, context.size({ full: 8, small: 4, smoke: 1 }), arms);
  },
};
