/** Whether a fork stays cheap when the zygote holds much memory: its page tables are copied, not its pages. */

import { interleave, type Arm, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import { heavyPackage } from "../reference/package-index.ts";
import { ECHO, runPath, type LambdaFiles } from "./lambdas.ts";
import { fixtures, lambdaOf } from "./package-set.ts";
import { COLD, runStarting } from "./starts.ts";

/** MB that a package holds once imported. */
const SIZES_MB = { full: [25, 50, 100, 200, 400], small: [50, 200], smoke: [200] };

/** Cold starts from zygotes that hold 25 to 400 MB, every page of it written. */
export const zygoteSize: Experiment = {
  name: "zygote-size",
  title: "Zygote size",
  question: "How long does a cold start take from a zygote that holds much memory?",
  minutes: 1,
  run: async (context) => {
    const sizes = SIZES_MB[context.scale];
    const packages = sizes.map((mb) => heavyPackage(`ol_bench_heavy_${mb}`, mb));
    const source = await fixtures(context, packages);
    const lambdas: Record<string, LambdaFiles> = { "heavy-0": ECHO };
    for (const [i, mb] of sizes.entries()) {
      const choice = source.choices[i];
      if (choice !== undefined) lambdas[`heavy-${mb}`] = lambdaOf(choice);
    }
    const cluster = await context.cluster({
      config: {
        ...source.config,
        limits: { mem_mb: 1024, procs: 64 },
        handler_cache_size: 0,
        import_cache_size: 4 * 2 ** 20,
        startup_pkgs: packages.map(({ module }) => module),
      },
      lambdas,
    });
    for (const { packages: held, memoryBytes } of (await cluster.stats()).zygotes) {
      context.recorder.parameter(
        `MB of zygote ${held.join(" ")}`,
        Math.round(memoryBytes / 2 ** 20),
      );
    }
    const arms = [0, ...sizes].map((mb): Arm => ({
      name: `heavy-${mb}`,
      run: async (round) => {
        const id = `cold-${mb}`;
        const { latencyUs } = await runStarting(
          context,
          { id, accepted: mb === 0 ? COLD : ["zygote"] },
          {
            port: cluster.port,
            paths: [runPath(`heavy-${mb}`)],
            arrivals: { kind: "closed", clients: 1 },
            count: context.size({ full: 60, small: 30, smoke: 2 }),
            warmupCount: 3,
            seed: `${id}/${round}`,
          },
        );
        const label = mb === 0 ? "cold start without packages" : `cold start from ${mb} MB`;
        const role = mb === 0 ? "reference" : "subject";
        const curve = { name: "cold start", x: mb };
        context.recorder.add({ ...LATENCY, id, label, role, curve }, latencyUs);
      },
    }));
    await interleave(context, context.size({ full: 10, small: 4, smoke: 1 }), arms);
  },
};
