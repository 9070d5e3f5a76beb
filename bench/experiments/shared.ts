/** Arms and records that several experiments share. */

import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Arm, BenchContext } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import type { SeriesInfo } from "../harness/results.ts";
import type { LoadResult } from "../load/plan.ts";
import { DockerReference } from "../reference/docker.ts";
import { COLD, matchStarts, type WantedStart } from "./starts.ts";

/** A series of calls that started in one way. */
interface StartSeries extends WantedStart {
  readonly label: string;
}

/** Series of calls by start. A sandbox is new whether its parent had packages imported or not. */
export const STARTS = {
  cold: { id: "cold", label: "cold, a new sandbox", accepted: COLD },
  spaced: {
    id: "cold-spaced",
    label: "cold, with room between the calls",
    accepted: COLD,
  },
  zygote: {
    id: "cold-zygote",
    label: "cold, forked from a zygote of the import cache",
    accepted: ["zygote"],
  },
  unpaused: { id: "unpaused", label: "unpaused", accepted: ["unpaused"] },
  warm: { id: "warm", label: "warm", accepted: ["warm"] },
} as const satisfies Record<string, StartSeries>;

/**
 * Records those calls of a burst that started as they should, with their stages; notes when others
 * were among them.
 * @param context of the experiment
 * @param wanted what the arm is about
 * @param result of a burst with details
 */
export function recordStarts(context: BenchContext, wanted: StartSeries, result: LoadResult): void {
  const { id, label } = wanted;
  const matching = matchStarts(context, wanted, result);
  if (matching.length === 0) return;
  const pick = (values: readonly number[]): number[] => matching.map((i) => values[i] as number);
  context.recorder.add({ ...LATENCY, id, label }, pick(result.latencyUs));
  let known: number[] = matching.map(() => 0);
  for (const [stage, values] of Object.entries(result.stages)) {
    // Stages are there for every call or are of no use: columns would not line up.
    if (values.length !== result.latencyUs.length || stage === "total") continue;
    const picked = pick(values);
    known = known.map((sum, i) => sum + (picked[i] as number));
    recordStage(context, id, stage, picked);
  }
  const rest = pick(result.latencyUs).map((total, i) => total - (known[i] as number));
  recordStage(context, id, "rest", rest);
}

function recordStage(
  context: BenchContext,
  of: string,
  stage: string,
  samples: readonly number[],
): void {
  const what = stage === "rest" ? "HTTP, client and what no stage covers" : stage;
  context.recorder.add(
    { ...LATENCY, id: `${of}.${stage}`, label: `${of}: ${what}`, role: "stage" },
    samples,
  );
}

/**
 * @param context of the experiment
 * @param port of any server that answers
 * @param path GET for `/status`, else POST with a nonce
 * @param calls per round
 * @param info the series
 * @returns an arm with one client
 */
export function callArm(
  context: BenchContext,
  port: number,
  path: string,
  calls: number,
  info: SeriesInfo,
): Arm {
  const get = path === "/status";
  return {
    name: info.id,
    run: async (round) => {
      const result = await context.load.run({
        port,
        paths: [path],
        method: get ? "GET" : "POST",
        nonce: !get,
        arrivals: { kind: "closed", clients: 1 },
        count: calls,
        warmupCount: 20,
        seed: `${info.id}/${round}`,
      });
      context.recorder.add(info, result.latencyUs);
    },
  };
}

/**
 * @param context of the experiment
 * @returns Docker for references, or null with the reason recorded
 */
export async function startDocker(context: BenchContext): Promise<DockerReference | null> {
  try {
    // Not below the run's own directory: Docker wants short socket paths.
    return context.own(
      await DockerReference.start(join(tmpdir(), `ol-bench-docker-${process.pid}`)),
    );
  } catch (error) {
    context.recorder.skip(`docker: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}
