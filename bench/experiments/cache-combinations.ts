/** Handler cache and import cache, each on and off. */

import { interleave, type Arm, type Experiment } from "../harness/experiment.ts";
import { LATENCY, RATE } from "../harness/recorder.ts";
import { ECHO, many, runPath, type LambdaFiles } from "./lambdas.ts";
import { PACKAGE_CONFIG, TINY, installed, lambdaOf, type PackageChoice } from "./package-set.ts";

const NUMPY: PackageChoice = { module: "numpy", install: "numpy" };

const onOff = (on: boolean): string => (on ? "on" : "off");

/** A mix of lambdas under Zipf popularity with each combination of the caches. */
export const cacheCombinations: Experiment = {
  name: "handler-cache",
  title: "Cache combinations",
  question: "What do the handler cache and the import cache give, alone and together?",
  run: async (context) => {
    const { recorder } = context;
    const choice = context.scale === "smoke" ? TINY : NUMPY;
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
          ...PACKAGE_CONFIG,
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
          run: async () => {
            const result = await context.load.run({
              port: cluster.port,
              paths,
              pick: { kind: "zipf", exponent: 1 },
              arrivals: { kind: "closed", clients: 2 },
              count: context.size({ full: 300, small: 100, smoke: 6 }),
              warmupCount: context.size({ full: 100, small: 40, smoke: 2 }),
              seed: "combinations",
            });
            recorder.add({ ...LATENCY, id, label }, result.latencyUs);
            const rate = (result.latencyUs.length * 1e6) / result.elapsedUs;
            recorder.add({ ...RATE, id: `rate-${id}`, label }, [rate]);
          },
        });
      }
    }
    await interleave(context, context.size({ full: 8, small: 3, smoke: 1 }), arms);
  },
};
