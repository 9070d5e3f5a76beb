/** The Docker engine beside `docker run` and the SOCK engine. */

import { interleave, type Arm, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import { ECHO, runPath } from "./lambdas.ts";
import { startDocker } from "./shared.ts";
import { COLD, runStarting } from "./starts.ts";

/** Cold and warm calls of both engines against `docker run`. */
export const dockerEngine: Experiment = {
  name: "docker-engine",
  title: "Docker engine",
  question: "What does a container per instance cost, against docker run and the SOCK engine?",
  minutes: 2,
  run: async (context) => {
    const docker = await startDocker(context);
    if (docker === null) return;
    const socket = { docker: { socket: docker.socket } };
    const arms: Arm[] = [
      {
        name: "docker-run",
        run: async () => {
          const us = await docker.timeRun(["/usr/bin/python3", "-c", "pass"]);
          const label = "docker run, same base, python3 -c pass";
          context.recorder.add({ ...LATENCY, id: "docker-run", label, role: "reference" }, [us]);
        },
      },
    ];
    for (const sandbox of ["docker", "sock"] as const) {
      for (const cold of [true, false]) {
        // Containers cannot be forked, so neither engine gets an import cache.
        const config = {
          sandbox,
          import_cache_size: 0,
          ...socket,
          ...(cold ? { handler_cache_size: 0 } : {}),
        };
        const cluster = await context.cluster({ config, lambdas: { echo: ECHO } });
        const id = `${sandbox}-${cold ? "cold" : "warm"}`;
        const label = `${sandbox} engine, ${cold ? "cold" : "warm"} call`;
        arms.push({
          name: id,
          run: async (round) => {
            const { latencyUs } = await runStarting(
              context,
              { id, accepted: cold ? COLD : ["warm"] },
              {
                port: cluster.port,
                paths: [runPath("echo")],
                arrivals: { kind: "closed", clients: 1 },
                count: cold
                  ? context.size({ full: 3, small: 3, smoke: 1 })
                  : context.size({ full: 50, small: 50, smoke: 3 }),
                warmupCount: cold ? 1 : 5,
                seed: `${id}/${round}`,
              },
            );
            context.recorder.add({ ...LATENCY, id, label }, latencyUs);
          },
        });
      }
    }
    await interleave(context, context.size({ full: 10, small: 4, smoke: 1 }), arms);
  },
};
