/** Handler cache and import cache, each on and off. */

import { interleave, type Arm, type Experiment } from "../harness/experiment.ts";
import { LATENCY, RATE } from "../harness/recorder.ts";
import { ECHO, many, runPath, type LambdaFiles } from "./lambdas.ts";
import { installed, lambdaOf, packagesOf, type PackageChoice } from "./package-set.ts";
import { runCounting } from "./starts.ts";

const NUMPY: PackageChoice = { module: "numpy", install: "numpy" };

const onOff = (on: boolean): string => (on ? "on" : "off");

/** A mix of lambdas under Zipf popularity with each combination of the caches. */
export const cacheCombinations: Experiment = {
  name: "handler-cache",
  title: "Cache combinations",
  question: "What do the handler cache and the import cache give, alone and together?",
  minutes: 2,
  run: async (context) => {
    const { recorder } = context;
    const source = await packagesOf(context, { full: [NUMPY], small: [NUMPY] });
    const [choice = NUMPY] = source.choices;
    const plain = context.size({ full: 30, small: 10, smoke: 2 });
    const lambdas: Record<string, LambdaFiles> = {
      ...many(plain, ECHO),
      [choice.module]: lambdaOf(choice),
      ...many(plain, lambdaOf(choice), "package"),
    };
    const Pkgs_dir = await context.scratch("packages");
    const arms: Arm[] = [];
    for (const handler of [true, false]) {
      for (const imports of [true, false]) {
        const config = {
          ...source.config,
          Pkgs_dir,
          ...(handler ? {} : { handler_cache_size: 0 }),
          ...(imports ? {} : { import_cache_size: 0 }),
        };
        const cluster = await context.cluster({ config, lambdas });
        const usable = (await installed(context, cluster, [choice])).length > 0;
        const names = Object.keys(many(plain, ECHO)).concat(
          usable ? Object.keys(many(plain, ECHO, "package")) : [],
        );
        const paths = context.random.fork("order").shuffled(names).map(runPath);
        const id = `handler-${onOff(handler)}.import-${onOff(imports)}`;
        const label = `handler cache ${onOff(handler)}, import cache ${onOff(imports)}`;
        arms.push({
          name: id,
          run: async (round) => {
            const result = await runCounting(context, id, {
              port: cluster.port,
              paths,
              pick: { kind: "zipf", exponent: 1 },
              arrivals: { kind: "closed", clients: 2 },
              count: context.size({ full: 300, small: 100, smoke: 6 }),
              warmupCount: context.size({ full: 100, small: 40, smoke: 2 }),
              seed: `combinations/${round}`,
            });
            recorder.add({ ...LATENCY, id, label }, result.latencyUs);
            const rate = (result.latencyUs.length * 1e6) / result.elapsedUs;
            recorder.add({ ...RATE, id: `rate-${id}`, label }, [rate]);
          },
        });
      }
    }
    await interleave(context, context.size({ full: 6, small: 3, smoke: 1 }), arms);
  },
};
