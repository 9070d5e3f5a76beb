/** How soon a user can begin. */

import { join } from "node:path";

import { Cluster, freePort } from "../harness/cluster.ts";
import { command } from "../harness/command.ts";
import { interleave, type Arm, type BenchContext, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";

/** Microseconds from starting a program to its end. */
async function timeCommand(argv: readonly string[]): Promise<number> {
  const begin = Bun.nanoseconds();
  await command(argv);
  return (Bun.nanoseconds() - begin) / 1000;
}

function programArm(
  context: BenchContext,
  id: string,
  argv: readonly string[],
  role: "subject" | "reference",
): Arm {
  return {
    name: id,
    run: async () => {
      const samples: number[] = [];
      const count = context.size({ full: 10, small: 5, smoke: 1 });
      for (let i = 0; i < count; i++) samples.push(await timeCommand(argv));
      context.recorder.add(
        { ...LATENCY, id, label: argv.join(" ").replace(/\S*\/(\S+)/, "$1"), role },
        samples,
      );
    },
  };
}

/** A whole cluster from nothing to ready to gone. */
function clusterArm(context: BenchContext): Arm {
  return {
    name: "cluster",
    run: async (round) => {
      const { ol, recorder } = context;
      const dir = join(await context.scratch("start-up"), "cluster");
      const add = (id: string, label: string, us: number): void =>
        recorder.add({ ...LATENCY, id, label }, [us]);
      const created = await timeCommand([ol, "new", `--cluster=${dir}`]);
      const port = await freePort();
      const begin = Bun.nanoseconds();
      await command([ol, "workers", `--cluster=${dir}`, `--port=${port}`]);
      const ready = (Bun.nanoseconds() - begin) / 1000;
      const status = await fetch(`http://127.0.0.1:${port}/status`);
      const gone = await timeCommand([ol, "kill", `--cluster=${dir}`]);
      if (!status.ok)
        throw new Error(`Cannot use round ${round}: "ol workers" returned before ready`);
      add("new", "ol new", created);
      add("workers", "ol workers, until ready", ready);
      add("new-workers", "ol new + ol workers, until ready", created + ready);
      add("kill", "ol kill", gone);
    },
  };
}

/** First call ever of a lambda in a worker that just became ready. */
function firstCallArm(context: BenchContext): Arm {
  return {
    name: "first-call",
    run: async () => {
      const dir = join(await context.scratch("first-call"), "cluster");
      const cluster = await Cluster.start(context.ol, dir);
      try {
        cluster.writeLambda("hello", {
          "lambda_func.py": "def handler(event):\n    return event\n",
        });
        const begin = Bun.nanoseconds();
        await cluster.call("hello", null);
        const us = (Bun.nanoseconds() - begin) / 1000;
        context.recorder.add(
          { ...LATENCY, id: "first-call", label: "first call after ol workers returned" },
          [us],
        );
      } finally {
        await cluster.close();
      }
    },
  };
}

/** Start of the executable, of a cluster and of its first call. */
export const startUp: Experiment = {
  name: "start-up",
  title: "Start-up",
  question: "How long until the executable, a cluster and its first lambda answer?",
  minutes: 1,
  run: async (context) => {
    await interleave(context, context.size({ full: 12, small: 5, smoke: 1 }), [
      programArm(context, "version", [context.ol, "--version"], "subject"),
      programArm(context, "help", [context.ol, "--help"], "subject"),
      programArm(context, "true", ["/bin/true"], "reference"),
      programArm(context, "python", ["/usr/bin/python3", "-c", "pass"], "reference"),
      clusterArm(context),
      firstCallArm(context),
    ]);
  },
};
