/** What pre-imported packages save, package by package, and what a miss costs. */

import type { Cluster } from "../harness/cluster.ts";
import { interleave, type Arm, type BenchContext, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import type { SeriesInfo } from "../harness/results.ts";
import { ECHO, runPath, type LambdaFiles } from "./lambdas.ts";
import {
  HEAVY,
  installed,
  lambdaOf,
  packagesOf,
  pipInstall,
  type PackageChoice,
} from "./package-set.ts";
import { COLD, runStarting } from "./starts.ts";

/** Milliseconds for a zygote to appear after the call that made it worth having. */
const ZYGOTE_MS = 15_000;

const KINDS = {
  none: "no import cache",
  hit: "import cache, later calls",
  first: "first call of a worker, no import cache",
  miss: "first call of a worker, import cache on and empty",
  floor: "fork of a bare Python that imports it",
} as const;

type Kind = keyof typeof KINDS;

function infoOf(choice: PackageChoice, kind: Kind, index: number): SeriesInfo {
  return {
    ...LATENCY,
    id: `${choice.module}.${kind}`,
    label: `${choice.install}: ${KINDS[kind]}`,
    role: kind === "floor" ? "reference" : "subject",
    curve: { name: KINDS[kind], x: index },
  };
}

/** Spellings of a distribution's name that mean the same. */
const normal = (name: string): string => name.toLowerCase().replaceAll(/[-_.]+/g, "-");

/** Waits until the worker holds a zygote for what was just called. */
async function zygoteReady(
  context: BenchContext,
  cluster: Cluster,
  choice: PackageChoice,
): Promise<void> {
  const has = (packages: readonly string[]): boolean =>
    packages.some(
      (name) => name === choice.module || normal(name).startsWith(normal(choice.install)),
    );
  await cluster
    .until(
      "a zygote has it",
      (figures) => figures.zygotes.some((each) => has(each.packages)),
      ZYGOTE_MS,
    )
    .catch(() =>
      context.recorder.note(`${choice.install}: no zygote in /stats after ${ZYGOTE_MS} ms`),
    );
}

/** Cold calls of one package in a worker that has run for a while. */
function coldArm(
  context: BenchContext,
  cluster: Cluster,
  target: { choice: PackageChoice; kind: "none" | "hit"; index: number },
): Arm {
  const { choice, kind, index } = target;
  const info = infoOf(choice, kind, index);
  const accepted = kind === "hit" ? ["zygote"] : ["fresh"];
  const counts = {
    hit: context.size({ full: 40, small: 20, smoke: 2 }),
    none: context.size({ full: 4, small: 3, smoke: 1 }),
  };
  return {
    name: info.id,
    run: async (round) => {
      const { latencyUs } = await runStarting(
        context,
        { id: info.id, accepted },
        {
          port: cluster.port,
          paths: [runPath(choice.module)],
          arrivals: { kind: "closed", clients: 1 },
          count: counts[kind],
          warmupCount: 1,
          seed: `${info.id}/${round}`,
        },
      );
      context.recorder.add(info, latencyUs);
    },
  };
}

/** The cold start that promises are held against, in the worker with the import cache. */
function helloArm(context: BenchContext, cluster: Cluster): Arm {
  return {
    name: "hello",
    run: async (round) => {
      const { latencyUs } = await runStarting(
        context,
        { id: "hello", accepted: COLD },
        {
          port: cluster.port,
          paths: [runPath("hello")],
          arrivals: { kind: "closed", clients: 1 },
          count: context.size({ full: 60, small: 30, smoke: 2 }),
          warmupCount: 3,
          seed: `hello/${round}`,
        },
      );
      const label = "hello: a cold start without packages";
      context.recorder.add({ ...LATENCY, id: "hello", label, role: "reference" }, latencyUs);
    },
  };
}

/** What both kinds of workers of a miss share. */
interface MissSetup {
  readonly config: Readonly<Record<string, unknown>>;
  readonly lambdas: Record<string, LambdaFiles>;
  /**
   * Called before: it warms the worker's installer. Its import is too short for a zygote, which would be
   * made beside the call that is measured.
   */
  readonly other: PackageChoice;
}

/**
 * A miss happens once per worker and package, so each sample has a worker of its own. The installer, the
 * root zygote and the worker's code are warm by then: another package was called.
 */
function missArm(
  context: BenchContext,
  setup: MissSetup,
  target: { choice: PackageChoice; kind: "first" | "miss"; index: number },
): Arm {
  const { choice, kind, index } = target;
  const info = infoOf(choice, kind, index);
  return {
    name: info.id,
    run: async (round) => {
      const cache = kind === "first" ? { import_cache_size: 0 } : {};
      const config = { ...setup.config, ...cache };
      const cluster = await context.cluster({ config, lambdas: setup.lambdas });
      try {
        await cluster.call("hello", null);
        await cluster.call(setup.other.module, null);
        const { latencyUs } = await runStarting(
          context,
          { id: info.id, accepted: ["fresh"] },
          {
            port: cluster.port,
            paths: [runPath(choice.module)],
            arrivals: { kind: "closed", clients: 1 },
            count: 1,
            seed: `${choice.module}.miss/${round}`,
          },
        );
        context.recorder.add(info, latencyUs);
      } finally {
        await cluster.close();
      }
    },
  };
}

/** Imports by a bare Python of what pip alone installed. */
async function floorArms(
  context: BenchContext,
  choices: readonly PackageChoice[],
  pip: readonly string[],
): Promise<Arm[]> {
  const target = await context.scratch("pip-target");
  const outcome = await pipInstall(target, choices, pip);
  if (typeof outcome === "string") {
    context.recorder.skip(`plain imports: pip failed: ${outcome}`);
    return [];
  }
  return choices.map((choice, index) => ({
    name: `${choice.module}.floor`,
    run: async () => {
      const floor = await context.floor();
      const samples = await floor.timeImport([choice.module], [target], 2);
      context.recorder.add(infoOf(choice, "floor", index), samples);
    },
  }));
}

/** Cold calls per package: no cache, hit, miss, and a bare Python that imports the same. */
export const importCache: Experiment = {
  name: "import-cache",
  title: "Import cache",
  question:
    "How much of a package's import does a zygote take off a cold start, and add to a miss?",
  minutes: 7,
  run: async (context) => {
    const { recorder } = context;
    const source = await packagesOf(context, { full: HEAVY, small: HEAVY.slice(0, 3) });
    const wanted = [...source.choices, source.trivial];
    const lambdas: Record<string, LambdaFiles> = { hello: ECHO };
    for (const each of wanted) lambdas[each.module] = lambdaOf(each);
    const shared = {
      ...source.config,
      handler_cache_size: 0,
      import_cache_size: 4 * 2 ** 20,
      Pkgs_dir: await context.scratch("packages"),
    };
    const uncached = await context.cluster({
      config: { ...shared, import_cache_size: 0 },
      lambdas,
    });
    const working = await installed(context, uncached, wanted);
    const choices = source.choices.filter((each) => working.includes(each));
    if (choices.length === 0) return;
    const cached = await context.cluster({ config: shared, lambdas });
    for (const choice of choices) {
      await cached.call(choice.module, null);
      await zygoteReady(context, cached, choice);
    }
    const setup = { config: shared, lambdas, other: source.trivial };
    const arms = choices.flatMap((choice, index): Arm[] => [
      coldArm(context, uncached, { choice, kind: "none", index }),
      coldArm(context, cached, { choice, kind: "hit", index }),
      missArm(context, setup, { choice, kind: "first", index }),
      missArm(context, setup, { choice, kind: "miss", index }),
    ]);
    await interleave(context, context.size({ full: 8, small: 3, smoke: 1 }), [
      ...arms,
      ...(await floorArms(context, choices, source.pip)),
      helloArm(context, cached),
    ]);
    const { import: hits } = (await cached.stats()).caches;
    recorder.parameter("import cache hits", hits.hits);
    recorder.parameter("import cache misses", hits.misses);
  },
};
