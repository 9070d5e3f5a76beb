/** Many lambdas, many packages, little memory: what a zygote tree is for. */

import type { ConfigOverrides } from "../harness/cluster.ts";
import type { BenchContext, Experiment, Sizes } from "../harness/experiment.ts";
import { LATENCY, RATE } from "../harness/recorder.ts";
import type { Random } from "../stats/random.ts";
import { zipf } from "../stats/zipf.ts";
import { runPath, type LambdaFiles } from "./lambdas.ts";
import { FORTY, installed, lambdaOf, packagesOf, type PackageChoice } from "./package-set.ts";
import { COLD, runStarting } from "./starts.ts";

/** MB of import cache; 0 is the root zygote alone. Published gains are at 1 GB and 4.6 GB. */
const CACHE_MB = {
  full: [0, 64, 256, 1024, 4710],
  small: [0, 256, 1024],
  smoke: [0, 256],
};

/** Most packages that one lambda declares; real ones rarely declare more by themselves. */
const PACKAGES_MAX = 3;

/** Calls from which a cache learns, drawn apart from those that are measured, and calls that are. */
interface Calls {
  readonly warmUp: Sizes;
  readonly measured: Sizes;
}

/** Each call imports by itself, which takes long; the warm-up is for the worker, there is nothing to learn. */
const ROOT_ONLY: Calls = {
  warmUp: { full: 30, small: 10, smoke: 4 },
  measured: { full: 120, small: 40, smoke: 6 },
};

const SMALL_CACHE: Calls = {
  warmUp: { full: 300, small: 100, smoke: 4 },
  measured: { full: 300, small: 100, smoke: 6 },
};

/** What holds more takes longer to fill, until most sets of packages were asked for; its calls are fast. */
const LARGE_CACHE: Calls = {
  warmUp: { full: 2_500, small: 200, smoke: 4 },
  measured: { full: 400, small: 100, smoke: 6 },
};

/** MB from which a cache counts as large. */
const LARGE_MB = 1024;

function callsOf(cacheMb: number): Calls {
  if (cacheMb === 0) return ROOT_ONLY;
  return cacheMb < LARGE_MB ? SMALL_CACHE : LARGE_CACHE;
}

/** Popularity of packages and of lambdas. */
const EXPONENT = 1;

/** Lambdas by name, and of those that declare the same packages one. */
interface Drawn {
  readonly lambdas: Record<string, LambdaFiles>;
  readonly distinct: readonly string[];
}

function drawLambdas(count: number, choices: readonly PackageChoice[], random: Random): Drawn {
  const draw = zipf(choices.length, EXPONENT, random.fork("packages"));
  const lambdas: Record<string, LambdaFiles> = {};
  const bySet = new Map<string, string>();
  for (let i = 0; i < count; i++) {
    const wanted = new Set<PackageChoice>();
    const size = 1 + random.int(PACKAGES_MAX);
    for (let tries = 0; wanted.size < size && tries < 20; tries++) {
      wanted.add(choices[draw()] as PackageChoice);
    }
    const set = choices.filter((choice) => wanted.has(choice));
    const name = `zipf-${i}`;
    lambdas[name] = lambdaOf(...set);
    bySet.set(set.map(({ module }) => module).join(" "), name);
  }
  return { lambdas, distinct: [...bySet.values()] };
}

/** Installers that work at once: with more the calls would wait for each other. */
const RESOLVERS = 2;

/**
 * Has each set of packages resolved before anything is measured: that takes pip seconds, once per set, and the
 * arms that happen to meet a set first would be measured with it.
 */
async function resolveAll(
  context: BenchContext,
  config: ConfigOverrides,
  drawn: Drawn,
): Promise<void> {
  const cluster = await context.cluster({
    config: { ...config, import_cache_size: 0 },
    lambdas: drawn.lambdas,
  });
  const left = [...drawn.distinct];
  const resolve = async (): Promise<void> => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      await cluster.call(name, null);
    }
  };
  await Promise.all(Array.from({ length: RESOLVERS }, resolve));
  await cluster.close();
  context.log(`${drawn.distinct.length} sets of packages are resolved`);
}

async function measure(
  context: BenchContext,
  at: { cacheMb: number; round: number },
  shared: { config: ConfigOverrides; lambdas: Record<string, LambdaFiles> },
): Promise<void> {
  const { recorder } = context;
  const { cacheMb, round } = at;
  const cluster = await context.cluster({
    config: {
      ...shared.config,
      // Every call is cold: what is measured is the import cache, not luck with idle instances.
      handler_cache_size: 0,
      import_cache_size: cacheMb * 1024,
    },
    lambdas: shared.lambdas,
  });
  const id = `latency-${cacheMb}`;
  const { warmUp, measured } = callsOf(cacheMb);
  const { latencyUs, ratePerS: rate } = await runStarting(
    context,
    { id, accepted: COLD },
    {
      port: cluster.port,
      paths: Object.keys(shared.lambdas).map(runPath),
      pick: { kind: "zipf", exponent: EXPONENT },
      arrivals: { kind: "closed", clients: 4 },
      warmupCount: context.size(warmUp),
      count: context.size(measured),
      // Without the size: all sizes meet the same calls.
      seed: `zipf/${round}`,
    },
  );
  const { zygotes, caches } = await cluster.stats();
  await cluster.close();
  const label = cacheMb === 0 ? "root zygote only" : `import cache of ${cacheMb} MB`;
  const role = cacheMb === 0 ? "reference" : "subject";
  const curve = (name: string) => ({ name, x: cacheMb });
  recorder.add({ ...RATE, id: `rate-${cacheMb}`, label, role, curve: curve("calls per second") }, [
    rate,
  ]);
  recorder.add({ ...LATENCY, id, label, role, curve: curve("latency") }, latencyUs);
  const extra = { ...LATENCY, role: "context" } as const;
  recorder.add(
    {
      ...extra,
      unit: "count",
      id: `zygotes-${cacheMb}`,
      label: `${label}: zygotes`,
      curve: curve("zygotes"),
    },
    [zygotes.length],
  );
  recorder.add(
    {
      ...extra,
      unit: "bytes",
      id: `memory-${cacheMb}`,
      label: `${label}: memory of zygotes`,
      curve: curve("memory"),
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
  minutes: 13,
  run: async (context) => {
    const source = await packagesOf(context, { full: FORTY, small: FORTY.slice(0, 8) });
    const config = { ...source.config, Pkgs_dir: await context.scratch("packages") };
    const installer = await context.cluster({
      config,
      lambdas: Object.fromEntries(source.choices.map((each) => [each.module, lambdaOf(each)])),
    });
    const choices = await installed(context, installer, source.choices);
    await installer.close();
    if (choices.length === 0) return;
    const count = context.size({ full: 500, small: 100, smoke: 5 });
    const drawn = drawLambdas(count, choices, context.random.fork("lambdas"));
    const { lambdas } = drawn;
    await resolveAll(context, config, drawn);
    context.recorder.parameter("lambdas", count);
    context.recorder.parameter("packages", choices.length);
    context.recorder.parameter("sets of packages", drawn.distinct.length);
    context.recorder.parameter("packages per lambda", `1 to ${PACKAGES_MAX}`);
    context.recorder.parameter("Zipf exponent", EXPONENT);
    const rounds = context.size({ full: 5, small: 1, smoke: 1 });
    const order = context.random.fork("interleave");
    for (let round = 0; round < rounds; round++) {
      for (const cacheMb of order.shuffled(CACHE_MB[context.scale])) {
        await measure(context, { cacheMb, round }, { config, lambdas });
      }
    }
  },
};
