/** Latency over the size of code and of bodies. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { interleave, type Arm, type Experiment } from "../harness/experiment.ts";
import { LATENCY } from "../harness/recorder.ts";
import { HttpProcess } from "../reference/http-process.ts";
import { ECHO, bulky, runPath } from "./lambdas.ts";
import { COLD, runStarting } from "./starts.ts";

const CODE_BYTES = {
  full: [100, 10_000, 100_000, 1_000_000],
  small: [100, 10_000, 100_000, 1_000_000],
  smoke: [100, 10_000],
};
const BODY_BYTES = {
  full: [0, 1024, 16_384, 131_072, 1_048_576, 8_388_608],
  small: [0, 1024, 16_384, 131_072, 1_048_576, 8_388_608],
  smoke: [0, 16_384],
};

/** Cold start over the size of `lambda_func.py`. */
export const codeSize: Experiment = {
  name: "code-size",
  title: "Code size",
  question: "What does a lambda's own source cost at each cold start?",
  minutes: 1,
  run: async (context) => {
    const sizes = CODE_BYTES[context.scale];
    const lambdas = Object.fromEntries(sizes.map((bytes) => [`code-${bytes}`, bulky(bytes)]));
    const cluster = await context.cluster({ config: { handler_cache_size: 0 }, lambdas });
    const own = await context.scratch("own-code");
    for (const bytes of sizes) {
      writeFileSync(join(own, `code_${bytes}.py`), bulky(bytes)["lambda_func.py"] ?? "");
    }
    const arms = sizes.flatMap((bytes): Arm[] => [
      {
        name: `code-${bytes}`,
        run: async (round) => {
          const id = `code-${bytes}`;
          const { latencyUs } = await runStarting(
            context,
            { id, accepted: COLD },
            {
              port: cluster.port,
              paths: [runPath(id)],
              arrivals: { kind: "closed", clients: 1 },
              count: context.size({ full: 50, small: 20, smoke: 2 }),
              warmupCount: 2,
              seed: `${id}/${round}`,
            },
          );
          const curve = { name: "cold start", x: bytes };
          const label = `cold start, ${bytes} bytes of source`;
          context.recorder.add({ ...LATENCY, id, label, curve }, latencyUs);
        },
      },
      {
        name: `import-${bytes}`,
        run: async () => {
          const floor = await context.floor();
          const count = context.size({ full: 20, small: 10, smoke: 2 });
          const samples = await floor.timeImport([`code_${bytes}`], [own], count);
          const name = "fork of a bare Python that imports the same, bytecode cached";
          const label = `${name}, ${bytes} bytes of source`;
          context.recorder.add(
            {
              ...LATENCY,
              id: `import-${bytes}`,
              label,
              role: "reference",
              curve: { name, x: bytes },
            },
            samples,
          );
        },
      },
    ]);
    await interleave(context, context.size({ full: 10, small: 4, smoke: 1 }), arms);
  },
};

/** Warm call over the size of the event, which comes back as the result. */
export const bodySize: Experiment = {
  name: "body-size",
  title: "Body size",
  question: "What does a larger event and result cost a warm call?",
  minutes: 1,
  run: async (context) => {
    const cluster = await context.cluster({ lambdas: { echo: ECHO } });
    const bun = context.own(await HttpProcess.start("bun"));
    const targets = [
      { id: "ol", label: "ol, warm echo", port: cluster.port, role: "subject" },
      {
        id: "bun",
        label: "raw Bun.serve, echo without parsing",
        port: bun.port,
        role: "reference",
      },
    ] as const;
    const arms = BODY_BYTES[context.scale].flatMap((padBytes) =>
      targets.map(({ id, label, port, role }) => ({
        name: `${id}-${padBytes}`,
        run: async (round: number) => {
          const calls = context.size({ full: 200, small: 60, smoke: 3 });
          const wanted = {
            id: `${id}-${padBytes}`,
            accepted: role === "subject" ? ["warm"] : [""],
          };
          const { latencyUs } = await runStarting(context, wanted, {
            port,
            paths: [runPath("echo")],
            arrivals: { kind: "closed", clients: 1 },
            count: padBytes > 1e6 ? Math.ceil(calls / 10) : calls,
            warmupCount: 5,
            padBytes,
            seed: `${id}-${padBytes}/${round}`,
          });
          context.recorder.add(
            {
              ...LATENCY,
              id: `${id}-${padBytes}`,
              label: `${label}, ${padBytes} bytes each way`,
              role,
              curve: { name: label, x: Math.max(30, padBytes) },
            },
            latencyUs,
          );
        },
      })),
    );
    await interleave(context, context.size({ full: 8, small: 3, smoke: 1 }), arms);
  },
};
