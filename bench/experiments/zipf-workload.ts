/** Many lambdas, many packages, little memory: what a zygote tree is for. */

import type { BenchContext, Experiment } from "../harness/experiment.ts";
import { LATENCY, RATE } from "../harness/recorder.ts";
import type { Random } from "../stats/random.ts";
import { zipf } from "../stats/zipf.ts";
import { runPath, type LambdaFiles } from "./lambdas.ts";
import {
  FORTY,
  PACKAGE_CONFIG,
  TINY,
  installed,
  lambdaOf,
  type PackageChoice,
} from "./package-set.ts";

/** MB of import cache; 0 is the root zygote alone. */
const CACHE_MB = {
  full: [0, 64, 128, 256, 512, 1024, 4096],
  small: [0, 256, 2048],
  smoke: [0, 256],
};

/** Most packages that one lambda declares; real ones rarely declare more by themselves. */
const PACKAGES_MAX = 3;

/** Popularity of packages and of lambdas. */
const EXPONENT = 1;

function drawLambdas(
  count: number,
  choices: readonly PackageChoice[],
  random: Random,
): Record<string, LambdaFiles> {
  const draw = zipf(choices.length, EXPONENT, random.fork("packages"));
  const lambdas: Record<string, LambdaFiles> = {};
  for (let i = 0; i < count; i++) {
    const wanted = new Set<PackageChoice>();
    const size = 1 + random.int(PACKAGES_MAX);
    for (let tries = 0; wanted.size < size && tries < 20; tries++) {
      wanted.add(choices[draw()] as PackageChoice);
    }
    lambdas[`zipf-${i}`] = lambdaOf(...wanted);
  }
  return lambdas;
}

async function measure(
  context: BenchContext,
  cacheMb: number,
  shared: { lambdas: Record<string, LambdaFiles>; Pkgs_dir: string },
): Promise<void> {
  const { recorder } = context;
  const cluster = await context.cluster({
    config: {
      ...PACKAGE_CONFIG,
      Pkgs_dir: shared.Pkgs_dir,
      // Every call is cold: what is measured is the import cache, not luck with idle instances.
      handler_cache_size: 0,
      import_cache_size: cacheMb * 1024,
    },
    lambdas: shared.lambdas,
  });
  const result = await context.load.run({
    port: cluster.port,
    paths: Object.keys(shared.lambdas).map(runPath),
    pick: { kind: "zipf", exponent: EXPONENT },
    arrivals: { kind: "closed", clients: 4 },
    warmupCount: context.size({ full: 1000, small: 150, smoke: 4 }),
    count: context.size({ full: 1500, small: 200, smoke: 8 }),
    seed: "zipf",
  });
  const { zygotes, caches } = await cluster.stats();
  await cluster.close();
  const label = cacheMb === 0 ? "root zygote only" : `import cache of ${cacheMb} MB`;
  const role = cacheMb === 0 ? "reference" : "subject";
  const at = (name: string) => ({ name, x: cacheMb });
  const rate = (result.latencyUs.length * 1e6) / result.elapsedUs;
  recorder.add({ ...RATE, id: `rate-${cacheMb}`, label, role, curve: at("calls per second") }, [
    rate,
  ]);
  recorder.add(
    { ...LATENCY, id: `latency-${cacheMb}`, label, role, curve: at("latency") },
    result.latencyUs,
  );
  const extra = { ...LATENCY, role: "context" } as const;
  recorder.add(
    {
      ...extra,
      unit: "count",
      id: `zygotes-${cacheMb}`,
      label: `${label}: zygotes`,
      curve: at("zygotes"),
    },
    [zygotes.length],
  );
  recorder.add(
    {
      ...extra,
      unit: "bytes",
      id: `memory-${cacheMb}`,
      label: `${label}: memory of zygotes`,
      curve: at("memory"),
    },
    [zygotes.reduce((sum, each) => sum + each.memoryBytes, 0)],
  );
  recorder.parameter(`hits with ${cacheMb} MB`, caches.import.hits);
  context.log(`${label}: ${rate.toFixed(1)} calls/s, ${zygotes.length} zygotes`);
}

/** 500 lambdas over 40 real packages under Zipf popularity, over the size of the import cache. */
export const zipfWorkload: Experiment = {
  name: "zipf",
  title: "Zipf workload",
  question: "How many cold calls per second over many lambdas and packages, by import cache size?",
  run: async (context) => {
    const wanted = { full: FORTY, small: FORTY.slice(0, 8), smoke: [TINY] }[context.scale];
    const Pkgs_dir = await context.scratch("packages");
    const installer = await context.cluster({
      config: { ...PACKAGE_CONFIG, Pkgs_dir },
      lambdas: Object.fromEntries(wanted.map((each) => [each.module, lambdaOf(each)])),
    });
    const choices = await installed(context, installer, wanted);
    await installer.close();
    if (choices.length === 0) return;
    const count = context.size({ full: 500, small: 100, smoke: 5 });
    const lambdas = drawLambdas(count, choices, context.random.fork("lambdas"));
    context.recorder.parameter("lambdas", count);
    context.recorder.parameter("packages", choices.length);
    context.recorder.parameter("packages per lambda", `1 to ${PACKAGES_MAX}`);
    context.recorder.parameter("Zipf exponent", EXPONENT);
    const rounds = context.size({ full: 4, small: 1, smoke: 1 });
    const order = context.random.fork("interleave");
    for (let round = 0; round < rounds; round++) {
      for (const cacheMb of order.shuffled(CACHE_MB[context.scale])) {
        await measure(context, cacheMb, { lambdas, Pkgs_dir });
      }
    }
  },
};
