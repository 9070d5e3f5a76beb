/** Warm calls per second over concurrency, and latency under arrivals that do not wait. */

import { interleave, type Arm, type BenchContext, type Experiment } from "../harness/experiment.ts";
import { LATENCY, RATE } from "../harness/recorder.ts";
import { median } from "../stats/quantiles.ts";
import { wrk, WRK_MISSING } from "../load/wrk.ts";
import { HttpProcess } from "../reference/http-process.ts";
import { ECHO, runPath } from "./lambdas.ts";
import { runCounting, runStarting } from "./starts.ts";

const CLIENTS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** Shares of the measured peak at which open arrivals are tried. */
const LOADS = [0.1, 0.3, 0.5, 0.7, 0.9];

/** Something that answers calls. */
interface Target {
  readonly id: string;
  readonly label: string;
  readonly port: number;
  readonly path: string;
  readonly reference: boolean;
}

function closedArm(context: BenchContext, target: Target, clients: number): Arm {
  const { recorder } = context;
  const role = target.reference ? "reference" : "subject";
  return {
    name: `${target.id}-${clients}`,
    run: async (round) => {
      const get = target.path === "/status";
      const id = `${target.id}-${clients}`;
      // References carry no such header; it is looked for all the same, so that all cost alike.
      const accepted = target.reference ? [""] : ["warm"];
      const request = {
        port: target.port,
        paths: [target.path],
        method: get ? "GET" : "POST",
        nonce: !get,
        arrivals: { kind: "closed", clients },
        durationMs: context.size({ full: 1000, small: 600, smoke: 100 }),
        warmupCount: clients * 10,
        seed: `${id}/${round}`,
      } as const;
      const wanted = { id, accepted };
      const { result, latencyUs, ratePerS } = await runStarting(context, wanted, request);
      const curve = { name: target.label, x: clients };
      const label = `${target.label}, ${clients} clients`;
      recorder.add({ ...RATE, id: `rate-${id}`, label, role, curve }, [ratePerS]);
      recorder.add({ ...LATENCY, id, label, role, curve }, latencyUs);
      if (clients === 8) {
        recorder.add(
          {
            ...LATENCY,
            id: `generator-cpu-${target.id}`,
            label: `${target.label}: the generator's own processor time per call`,
            role: "context",
          },
          [result.generatorCpuUs / result.latencyUs.length],
        );
      }
    },
  };
}

/**
 * The same by wrk, a client in C: with as many processors as this, the generator's own work takes a third of
 * what there is from the servers (`generator-cpu`). It checks no answer; the arms above do.
 */
function wrkArm(context: BenchContext, target: Target, clients: number, dir: string): Arm {
  const { recorder } = context;
  return {
    name: `wrk-${target.id}-${clients}`,
    run: async () => {
      const method = target.path === "/status" ? "GET" : "POST";
      const seconds = context.size({ full: 2, small: 1, smoke: 1 });
      const url = `http://127.0.0.1:${target.port}${target.path}`;
      const result = await wrk(method, url, { clients, seconds }, dir);
      if (result === null) return recorder.skip(WRK_MISSING);
      if (result.errors > 0) throw new Error(`wrk: ${result.errors} errors at ${url}`);
      const role = target.reference ? "reference" : "subject";
      const label = `${target.label}, ${clients} ${clients === 1 ? "client" : "clients"} of wrk`;
      const id = `wrk-${target.id}-${clients}`;
      recorder.add({ ...RATE, id: `rate-${id}`, label, role }, [result.ratePerS]);
      recorder.add({ ...LATENCY, id: `p50-${id}`, label: `${label}: its p50`, role }, [
        result.p50Us,
      ]);
    },
  };
}

/** One kind of open arrivals at one share of the peak, of one target. */
function openArm(
  context: BenchContext,
  target: Target,
  at: { kind: "poisson" | "constant"; share: number; peak: number },
): Arm {
  const { recorder } = context;
  const { kind, share, peak } = at;
  const percent = Math.round(share * 100);
  const id = target.reference ? `${kind}-${target.id}-${percent}` : `${kind}-${percent}`;
  const of = target.reference ? `, ${target.label}` : "";
  const label = `${kind} arrivals, ${percent} % of the peak of ol${of}`;
  return {
    name: id,
    run: async (round) => {
      const result = await runCounting(context, id, {
        port: target.port,
        paths: [target.path],
        arrivals: { kind, ratePerS: peak * share, connectionsMax: 256 },
        durationMs: context.size({ full: 1500, small: 800, smoke: 100 }),
        warmupCount: 50,
        // Without the target's name: both meet the same arrivals.
        seed: `${kind}-${percent}/${round}`,
      });
      const curve = { name: `${kind} arrivals${of}`, x: percent };
      const role = target.reference ? "reference" : "subject";
      recorder.add({ ...LATENCY, id, label, role, curve }, result.latencyUs);
      recorder.add(
        { ...LATENCY, id: `lag-${id}`, label: `${label}: sent late by`, role: "context" },
        result.lagUs,
      );
    },
  };
}

/**
 * Open arrivals at shares of the peak: what independent callers would see. The reference gets the same
 * arrivals, so what the generator and the machine add is seen on its own.
 */
async function openLoop(
  context: BenchContext,
  targets: readonly Target[],
  peak: number,
): Promise<void> {
  context.recorder.parameter("peak for open arrivals, calls per second", Math.round(peak));
  const shares = context.scale === "smoke" ? [0.1] : LOADS;
  const arms = shares.flatMap((share) =>
    targets.flatMap((target) => {
      const kinds = target.reference ? (["poisson"] as const) : (["poisson", "constant"] as const);
      return kinds.map((kind) => openArm(context, target, { kind, share, peak }));
    }),
  );
  await interleave(context, context.size({ full: 6, small: 2, smoke: 1 }), arms);
}

/** Throughput over concurrency 1 to 256 against bare HTTP, then open arrivals. */
export const throughput: Experiment = {
  name: "throughput",
  title: "Warm throughput",
  question: "How many warm calls per second, over concurrency, and how late under open arrivals?",
  minutes: 9,
  run: async (context) => {
    const cluster = await context.cluster({ lambdas: { echo: ECHO }, config: { max_queue: 5000 } });
    const bun = context.own(await HttpProcess.start("bun"));
    const elysia = context.own(await HttpProcess.start("elysia"));
    const path = runPath("echo");
    const ol: Target = {
      id: "ol",
      label: "ol, warm lambda",
      port: cluster.port,
      path,
      reference: false,
    };
    const targets: Target[] = [
      ol,
      {
        id: "status",
        label: "ol, GET /status",
        port: cluster.port,
        path: "/status",
        reference: true,
      },
      { id: "bun", label: "raw Bun.serve", port: bun.port, path, reference: true },
      { id: "elysia", label: "plain Elysia", port: elysia.port, path, reference: true },
    ];
    await cluster.call("echo", null);
    const clients = context.scale === "smoke" ? [8] : CLIENTS;
    const arms = targets.flatMap((target) =>
      clients.map((count) => closedArm(context, target, count)),
    );
    const dir = await context.scratch("wrk");
    const wrkArms = targets.flatMap((target) =>
      [1, 8].map((count) => wrkArm(context, target, count, dir)),
    );
    await interleave(context, context.size({ full: 6, small: 2, smoke: 1 }), [...arms, ...wrkArms]);
    const rates = context.recorder
      .series()
      .filter(({ id }) => id.startsWith("rate-ol-"))
      .map((series) => median(series.rounds.flat()));
    await openLoop(
      context,
      targets.filter(({ id }) => id === "ol" || id === "bun"),
      Math.max(...rates),
    );
  },
};
