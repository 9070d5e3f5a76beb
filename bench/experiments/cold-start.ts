/** The first question of the project: how long does a call take that finds no sandbox? */

import type { Cluster } from "../harness/cluster.ts";
import { interleave, type Arm, type BenchContext, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import { HttpProcess } from "../reference/http-process.ts";
import type { FloorVariant } from "../reference/floor-process.ts";
import { ECHO, many, runPath } from "./lambdas.ts";
import { lambdaOf, lightFixture } from "./package-set.ts";
import { STARTS, callArm, recordStarts, startDocker } from "./shared.ts";

/** Lambdas that are left alone until they are paused; one call of each per round. */
const PAUSED = { full: 20, small: 8, smoke: 2 };

const FLOORS: readonly (readonly [FloorVariant, string, "python" | "fork"])[] = [
  ["fork", "fork + exit", "fork"],
  ["namespaces", "bare floor: fork + pid, mount, uts, ipc namespaces + exit", "fork"],
  ["userns", "bare floor + user and cgroup namespaces", "fork"],
  ["network", "bare floor + user, cgroup and network namespaces", "fork"],
  ["python-isolated", "python3 -I -S -c pass", "python"],
  ["python", "python3 -c pass", "python"],
  ["chroot-python", "chroot base python3 -I -S -c pass", "python"],
];

function floorArms(context: BenchContext): Arm[] {
  const counts = {
    fork: context.size({ full: 100, small: 40, smoke: 3 }),
    python: context.size({ full: 10, small: 5, smoke: 1 }),
  };
  return FLOORS.map(([variant, label, kind]) => ({
    name: variant,
    run: async () => {
      const floor = await context.floor();
      const samples = await floor.time(variant, counts[kind]);
      context.recorder.add({ ...LATENCY, id: variant, label, role: "reference" }, samples);
    },
  }));
}

/** Calls lambdas that were left alone for so long that the worker paused them. */
function unpausedArm(context: BenchContext, cluster: Cluster, names: readonly string[]): Arm {
  return {
    name: "unpaused",
    run: async (round) => {
      for (const name of names) await cluster.call(name, null);
      await cluster.until("idle lambdas are paused", (figures) => {
        const { live, paused } = figures.sandboxes;
        return paused >= names.length && paused === live;
      });
      const result = await context.load.run({
        port: cluster.port,
        paths: names.map(runPath),
        arrivals: { kind: "closed", clients: 1 },
        count: names.length,
        details: true,
        seed: `unpaused/${round}`,
      });
      recordStarts(context, STARTS.unpaused, result);
    },
  };
}

async function httpArms(context: BenchContext, calls: number): Promise<Arm[]> {
  const kinds = ["bun", "elysia"] as const;
  return await Promise.all(
    kinds.map(async (kind) => {
      const server = context.own(await HttpProcess.start(kind));
      const label = kind === "bun" ? "raw Bun.serve" : "plain Elysia";
      return callArm(context, server.port, runPath("echo"), calls, {
        ...LATENCY,
        id: `http-${kind}`,
        label: `${label}, echo without a sandbox`,
        role: "reference",
      });
    }),
  );
}

async function dockerArm(context: BenchContext): Promise<Arm[]> {
  if (context.scale === "smoke") {
    // Starting a daemon takes seconds, and the Docker engine's own smoke run does it already.
    context.recorder.skip("docker: in the smoke run part of docker-engine only");
    return [];
  }
  const docker = await startDocker(context);
  if (docker === null) return [];
  const series = {
    ...LATENCY,
    id: "docker-run",
    label: "docker run, same base, python3 -c pass",
    role: "reference",
  } as const;
  const run = async (): Promise<number> => docker.timeRun(["/usr/bin/python3", "-c", "pass"]);
  await run();
  return [{ name: "docker", run: async () => context.recorder.add(series, [await run()]) }];
}

/** Milliseconds between calls that leave the worker time to tidy up after the one before. */
const SPACE_MS = 25;

/** The same as the cold arm, with calls far enough apart that they do not meet. */
function spacedArm(context: BenchContext, cluster: Cluster, calls: number): Arm {
  return {
    name: "cold-spaced",
    run: async (round) => {
      const result = await context.load.run({
        port: cluster.port,
        paths: [runPath("echo")],
        arrivals: { kind: "constant", ratePerS: 1000 / SPACE_MS, connectionsMax: 8 },
        count: calls,
        warmupCount: 1,
        details: true,
        seed: `spaced/${round}`,
      });
      recordStarts(context, STARTS.spaced, result);
    },
  };
}

/** New sandboxes for each call: without packages, spaced, and from a zygote that has one imported. */
async function coldArms(context: BenchContext, calls: number): Promise<Arm[]> {
  const { choices, config: index } = await lightFixture(context);
  const light = choices[0]?.module ?? "";
  const config = { ...index, handler_cache_size: 0, startup_pkgs: [light] };
  const lambdas = { echo: ECHO, light: lambdaOf(...choices) };
  const cluster = await context.cluster({ config, lambdas });
  const closed = (name: string, series: (typeof STARTS)["cold" | "zygote"]): Arm => ({
    name: series.id,
    run: async (round) => {
      const result = await context.load.run({
        port: cluster.port,
        paths: [runPath(name)],
        arrivals: { kind: "closed", clients: 1 },
        count: calls,
        warmupCount: 3,
        details: true,
        seed: `${series.id}/${round}`,
      });
      recordStarts(context, series, result);
    },
  });
  const arms = [closed("echo", STARTS.cold), spacedArm(context, cluster, Math.ceil(calls / 2))];
  // Imported when the worker started, so every call of this arm finds the zygote.
  return [...arms, closed("light", STARTS.zygote)];
}

/** Cold, unpaused and warm calls by stage, against forks, interpreters, Docker and bare HTTP. */
export const coldStart: Experiment = {
  name: "cold-start",
  title: "Cold start",
  question: "How long does a call take that finds no sandbox, a paused one, a warm one?",
  minutes: 3,
  run: async (context) => {
    const calls = context.size({ full: 100, small: 40, smoke: 3 });
    const warmCalls = calls * 5;
    const paused = many(context.size(PAUSED), ECHO, "paused");
    const warm = await context.cluster({ lambdas: { echo: ECHO, ...paused } });
    await warm.call("echo", null);
    const arms: Arm[] = [
      ...(await coldArms(context, calls)),
      unpausedArm(context, warm, Object.keys(paused)),
      {
        name: "warm",
        run: async (round) => {
          const result = await context.load.run({
            port: warm.port,
            paths: [runPath("echo")],
            arrivals: { kind: "closed", clients: 1 },
            count: warmCalls,
            warmupCount: 20,
            details: true,
            seed: `warm/${round}`,
          });
          recordStarts(context, STARTS.warm, result);
        },
      },
      callArm(context, warm.port, "/status", warmCalls, {
        ...LATENCY,
        id: "status",
        label: "GET /status of the worker",
        role: "reference",
      }),
      ...floorArms(context),
      ...(await httpArms(context, warmCalls)),
      ...(await dockerArm(context)),
    ];
    context.recorder.parameter("calls per round", calls);
    await interleave(context, context.size({ full: 20, small: 8, smoke: 1 }), arms);
  },
};
