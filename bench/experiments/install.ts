/** What the first lambda with a package waits for, and the second one no longer. */

import { interleave, type Arm, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import { lambdaOf, packagesOf, pipInstall, type PackageChoice } from "./package-set.ts";

const REQUESTS: PackageChoice = { module: "requests", install: "requests" };
const NUMPY: PackageChoice = { module: "numpy", install: "numpy" };

/** First call with a package that is not installed, with one that is, and pip alone. */
export const install: Experiment = {
  name: "install",
  title: "Install cache",
  question:
    "How long does the first call wait for an install, and the next lambda with the same package?",
  minutes: 2,
  run: async (context) => {
    const { recorder } = context;
    const { choices, config, pip } = await packagesOf(context, {
      full: [REQUESTS, NUMPY],
      small: [REQUESTS],
    });
    const lambdas = Object.fromEntries(
      choices.flatMap((each) => [
        [`${each.module}-first`, lambdaOf(each)],
        [`${each.module}-second`, lambdaOf(each)],
      ]),
    );
    const dead = new Set<string>();
    const arms = choices.flatMap((choice, index): Arm[] => [
      {
        name: `${choice.module}.ol`,
        run: async () => {
          if (dead.has(choice.module)) return;
          const Pkgs_dir = await context.scratch("packages");
          const cluster = await context.cluster({
            config: { ...config, Pkgs_dir },
            lambdas,
          });
          for (const turn of ["first", "second"] as const) {
            const begin = Bun.nanoseconds();
            const failed = await cluster.call(`${choice.module}-${turn}`, null).then(
              () => null,
              (error: unknown) => String(error),
            );
            if (failed !== null) {
              recorder.skip(`package ${choice.install}: ${failed.slice(0, 600)}`);
              dead.add(choice.module);
              break;
            }
            const what = turn === "first" ? "not installed yet" : "installed for another lambda";
            recorder.add(
              {
                ...LATENCY,
                id: `${choice.module}.${turn}`,
                label: `${choice.install}: first call, ${what}`,
                curve: { name: what, x: index },
              },
              [(Bun.nanoseconds() - begin) / 1000],
            );
          }
          await cluster.close();
        },
      },
      {
        name: `${choice.module}.pip`,
        run: async () => {
          const us = await pipInstall(await context.scratch("pip"), [choice], pip);
          if (typeof us === "string") recorder.skip(`pip ${choice.install}: ${us}`);
          else {
            recorder.add(
              {
                ...LATENCY,
                id: `${choice.module}.pip`,
                label: `${choice.install}: pip install alone, outside`,
                role: "reference",
                curve: { name: "pip install alone", x: index },
              },
              [us],
            );
          }
        },
      },
    ]);
    await interleave(context, context.size({ full: 5, small: 3, smoke: 1 }), arms);
  },
};
