/**
 * Whether the instruments can be believed: the same echo server measured by the suite's generator, by
 * wrk and by mitata around `fetch`, in turns.
 */

import { measure } from "mitata";

import { interleave, type Arm, type BenchContext, type Experiment } from "../harness/experiment.ts";
import { LATENCY, RATE } from "../harness/recorder.ts";
import { wrk, WRK_MISSING } from "../load/wrk.ts";
import { HttpProcess } from "../reference/http-process.ts";
import { runPath } from "./lambdas.ts";

/** One call per sample: batches would hide the distribution. */
function mitataArm(context: BenchContext, url: string): Arm {
  const call = async (): Promise<void> => {
    await (await fetch(url, { method: "POST", body: '{"nonce": "mitata"}' })).arrayBuffer();
  };
  return {
    name: "mitata",
    run: async () => {
      const { samples } = await measure(call, {
        batch_threshold: 0,
        min_samples: context.size({ full: 500, small: 200, smoke: 20 }),
        min_cpu_time: 0,
      });
      const label = "mitata around fetch, 1 client";
      context.recorder.add(
        { ...LATENCY, id: "mitata-fetch", label, role: "context" },
        samples.map((ns) => ns / 1000),
      );
    },
  };
}

/** Generator, wrk and mitata on raw Bun.serve. */
export const instruments: Experiment = {
  name: "instruments",
  title: "Instruments",
  question: "Do the load generator, wrk and mitata agree about a server that does nothing?",
  minutes: 2,
  run: async (context) => {
    const { recorder } = context;
    const server = context.own(await HttpProcess.start("bun"));
    const url = `http://127.0.0.1:${server.port}${runPath("echo")}`;
    const dir = await context.scratch("wrk");
    const seconds = context.size({ full: 2, small: 1, smoke: 1 });
    const arms = [1, 8].flatMap((clients): Arm[] => [
      {
        name: `own-${clients}`,
        run: async (round) => {
          const result = await context.load.run({
            port: server.port,
            paths: [runPath("echo")],
            arrivals: { kind: "closed", clients },
            durationMs: context.scale === "smoke" ? 200 : seconds * 1000,
            warmupCount: 200,
            seed: `own-${clients}/${round}`,
          });
          const label = `own generator, ${clients} clients`;
          const rate = (result.latencyUs.length * 1e6) / result.elapsedUs;
          recorder.add({ ...RATE, id: `rate-own-${clients}`, label, role: "context" }, [rate]);
          recorder.add(
            { ...LATENCY, id: `own-${clients}`, label, role: "context" },
            result.latencyUs,
          );
        },
      },
      {
        name: `wrk-${clients}`,
        run: async () => {
          const result = await wrk("POST", url, { clients, seconds }, dir);
          if (result === null) return recorder.skip(WRK_MISSING);
          const label = `wrk, ${clients} clients`;
          recorder.add({ ...RATE, id: `rate-wrk-${clients}`, label, role: "context" }, [
            result.ratePerS,
          ]);
          recorder.add(
            { ...LATENCY, id: `wrk-p50-${clients}`, label: `${label}: its p50`, role: "context" },
            [result.p50Us],
          );
          recorder.add(
            { ...LATENCY, id: `wrk-p99-${clients}`, label: `${label}: its p99`, role: "context" },
            [result.p99Us],
          );
        },
      },
    ]);
    await interleave(context, context.size({ full: 8, small: 4, smoke: 1 }), [
      ...arms,
      mitataArm(context, url),
    ]);
  },
};
