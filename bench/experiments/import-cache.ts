/** What pre-imported packages save, package by package. */

import type { Cluster } from "../harness/cluster.ts";
import { interleave, type Arm, type BenchContext, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import type { SeriesInfo } from "../harness/results.ts";
import { runPath } from "./lambdas.ts";
import {
  HEAVY,
  PACKAGE_CONFIG,
  TINY,
  installed,
  lambdaOf,
  pipInstall,
  type PackageChoice,
} from "./package-set.ts";

/** Milliseconds for a zygote to appear after the call that made it worth having. */
const ZYGOTE_MS = 15_000;

const KINDS = {
  none: "no import cache",
  miss: "import cache, first call",
  hit: "import cache, later calls",
  floor: "fork of a bare Python that imports it",
} as const;

function infoOf(choice: PackageChoice, kind: keyof typeof KINDS, index: number): SeriesInfo {
  return {
    ...LATENCY,
    id: `${choice.module}.${kind}`,
    label: `${choice.install}: ${KINDS[kind]}`,
    role: kind === "floor" ? "reference" : "subject",
    curve: { name: KINDS[kind], x: index },
  };
}

/** Waits until the worker holds a zygote for what was just called. */
async function zygoteReady(
  context: BenchContext,
  cluster: Cluster,
  choice: PackageChoice,
): Promise<void> {
  const has = (packages: readonly string[]): boolean =>
    packages.some(
      (name) =>
        name.toLowerCase().startsWith(choice.install.toLowerCase()) || name === choice.module,
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

function coldArm(
  context: BenchContext,
  cluster: Cluster,
  target: { choice: PackageChoice; kind: "none" | "hit"; index: number },
): Arm {
  const { choice, kind, index } = target;
  const info = infoOf(choice, kind, index);
  return {
    name: info.id,
    run: async () => {
      const result = await context.load.run({
        port: cluster.port,
        paths: [runPath(choice.module)],
        arrivals: { kind: "closed", clients: 1 },
        count:
          kind === "hit"
            ? context.size({ full: 40, small: 20, smoke: 2 })
            : context.size({ full: 5, small: 3, smoke: 1 }),
        warmupCount: 1,
        details: true,
        seed: info.id,
      });
      const warm = result.start.filter((start) => start !== "zygote" && start !== "fresh").length;
      if (warm > 0) context.recorder.note(`${info.id}: ${warm} calls were not cold`);
      context.recorder.add(info, result.latencyUs);
    },
  };
}

/** Cold calls per package: no cache, miss, hit, and a bare Python that imports the same. */
export const importCache: Experiment = {
  name: "import-cache",
  title: "Import cache",
  question: "How much of a package's import does a pre-imported zygote take off a cold start?",
  run: async (context) => {
    const { recorder } = context;
    const wanted = { full: HEAVY, small: HEAVY.slice(0, 3), smoke: [TINY] }[context.scale];
    const lambdas = Object.fromEntries(wanted.map((each) => [each.module, lambdaOf(each)]));
    const shared = {
      ...PACKAGE_CONFIG,
      handler_cache_size: 0,
      Pkgs_dir: await context.scratch("packages"),
    };
    const uncached = await context.cluster({
      config: { ...shared, import_cache_size: 0 },
      lambdas,
    });
    const choices = await installed(context, uncached, wanted);
    if (choices.length === 0) return;
    const cacheConfig = { ...shared, import_cache_size: 4 * 2 ** 20 };
    const cached = await context.cluster({ config: cacheConfig, lambdas });
    for (const choice of choices) {
      await cached.call(choice.module, null);
      await zygoteReady(context, cached, choice);
    }
    const target = await context.scratch("pip-target");
    const pip = await pipInstall(target, choices);
    if (typeof pip === "string") recorder.skip(`plain imports: pip failed: ${pip}`);
    const arms = choices.flatMap((choice, index): Arm[] => [
      coldArm(context, uncached, { choice, kind: "none", index }),
      coldArm(context, cached, { choice, kind: "hit", index }),
      {
        name: `${choice.module}.floor`,
        run: async () => {
          if (typeof pip === "string") return;
          const floor = await context.floor();
          recorder.add(
            infoOf(choice, "floor", index),
            await floor.timeImport([choice.module], [target], 2),
          );
        },
      },
    ]);
    const miss: Arm = {
      name: "miss",
      run: async () => {
        const fresh = await context.cluster({ config: cacheConfig, lambdas });
        for (const [index, choice] of choices.entries()) {
          const begin = Bun.nanoseconds();
          await fresh.call(choice.module, null);
          recorder.add(infoOf(choice, "miss", index), [(Bun.nanoseconds() - begin) / 1000]);
        }
        await fresh.close();
      },
    };
    await interleave(context, context.size({ full: 10, small: 4, smoke: 1 }), [...arms, miss]);
    const { import: hits } = (await cached.stats()).caches;
    recorder.parameter("import cache hits", hits.hits);
    recorder.parameter("import cache misses", hits.misses);
  },
};
