/** A made-up run that has every series that bars and pictures look for. */

import type { ExperimentResult, ResultFile, Series, Unit } from "../../../bench/harness/results.ts";
import { Random } from "../../../bench/stats/random.ts";

/** What a made-up series is made of. */
interface Shape {
  readonly id: string;
  readonly centre: number;
  readonly count?: number;
  readonly rounds?: number;
  readonly unit?: Unit;
  readonly role?: Series["role"];
  readonly curve?: Series["curve"];
  readonly label?: string;
}

/**
 * @param shape id and median, the rest has defaults
 * @returns a series with a long tail, the same for the same shape
 */
export function exampleSeries(shape: Shape): Series {
  const random = new Random(shape.id);
  const unit = shape.unit ?? "us";
  const rounds = Array.from({ length: shape.rounds ?? 8 }, () =>
    Array.from(
      { length: shape.count ?? (unit === "us" ? 120 : 1) },
      () => shape.centre * (0.9 + random.exponential(0.1) + (random.int(100) === 0 ? 3 : 0)),
    ),
  );
  return {
    id: shape.id,
    label: shape.label ?? shape.id,
    unit,
    better: unit === "per_s" ? "higher" : "lower",
    role: shape.role ?? "subject",
    curve: shape.curve ?? null,
    rounds,
  };
}

function experiment(name: string, series: readonly Series[]): ExperimentResult {
  return {
    name,
    title: name,
    question: `What about <${name}> & its "series"?`,
    parameters: { rounds: 8 },
    series,
    skipped: [],
    notes: [],
    failed: null,
    durationMs: 1000,
    loadBefore: 0.5,
  };
}

const stage = (id: string, centre: number): Series => exampleSeries({ id, centre, role: "stage" });
const reference = (id: string, centre: number, label: string): Series =>
  exampleSeries({ id, centre, role: "reference", label });

function coldStart(factor: number): ExperimentResult {
  return experiment("cold-start", [
    exampleSeries({ id: "cold", centre: 1300 * factor, label: "cold, a new sandbox" }),
    exampleSeries({ id: "unpaused", centre: 300, label: "unpaused" }),
    exampleSeries({ id: "warm", centre: 160, label: "warm" }),
    stage("cold.queue", 10),
    stage("cold.sandbox", 800),
    stage("cold.import", 150),
    stage("cold.handler", 30),
    stage("cold.rest", 300),
    stage("warm.queue", 4),
    stage("warm.handler", 20),
    stage("warm.rest", 120),
    reference("fork", 390, "fork + exit"),
    reference("namespaces", 530, "bare floor"),
    reference("python-isolated", 8300, "python3 -I -S -c pass"),
    reference("chroot-python", 8600, "chroot base python3 -I -S -c pass"),
    reference("status", 80, "GET /status of the worker"),
    reference("http-bun", 60, "raw Bun.serve, echo without a sandbox"),
    exampleSeries({ id: "docker-run", centre: 257_000, role: "reference", count: 1 }),
  ]);
}

function curve(shape: Omit<Shape, "id">, id: string, name: string, x: number): Series {
  return exampleSeries({ ...shape, id, curve: { name, x } });
}

/** Calls per second over clients. */
const rate = (x: number): number => (30_000 * x) / (x + 3);

/**
 * @param factor by which the subject of `cold-start` is slower
 * @returns a run with all experiments that have pictures
 */
export function exampleResults(factor = 1): ResultFile {
  const clients = [1, 2, 4, 8, 16, 32, 64, 128, 256];
  const levels = [0, 10, 100, 250, 500, 1000, 1500, 2000];
  return {
    format: 1,
    startedAt: "2026-01-01T00:00:00.000Z",
    durationMs: 60_000,
    command: "bench",
    seed: "example",
    scale: "full",
    machine: {
      kernel: "6.18",
      architecture: "x64",
      cpu: "example",
      cores: 2,
      memoryBytes: 2 ** 34,
      governor: "none",
      virtual: "kvm",
      cgroup: "v2",
      mitigations: "none",
      hugePages: "madvise",
      loadAverage: [0, 0, 0],
      commit: "0123456789ab",
      versions: { ol: "0.1.0" },
    },
    experiments: [
      coldStart(factor),
      experiment("throughput", [
        ...clients.flatMap((x) => [
          curve({ centre: rate(x), unit: "per_s" }, `rate-ol-${x}`, "ol, warm lambda", x),
          curve({ centre: rate(x) * 1.5, unit: "per_s" }, `rate-bun-${x}`, "raw Bun.serve", x),
          curve({ centre: rate(x) * 1.4, unit: "per_s" }, `rate-el-${x}`, "plain Elysia", x),
          curve({ centre: 100 + x * 30 }, `ol-${x}`, "ol, warm lambda", x),
        ]),
        ...[10, 25, 50, 70, 80, 90].map((x) => {
          const label = `poisson arrivals, ${x} %`;
          return curve({ centre: 8000 / (100 - x), label }, `poisson-${x}`, "poisson arrivals", x);
        }),
      ]),
      experiment(
        "density",
        levels.flatMap((x) => [
          curve({ centre: 1400 + x, count: 60, rounds: 1 }, `cold-${x}`, "cold start", x),
          ...(x < 100
            ? []
            : [
                curve({ centre: 1.1e6, unit: "bytes", rounds: 1 }, `memory-each-${x}`, "memory", x),
              ]),
        ]),
      ),
      experiment(
        "import-cache",
        ["numpy", "pandas", "requests"].flatMap((name, x) => [
          curve({ centre: 90_000 * (x + 1) }, `${name}.none`, "no import cache", x),
          curve({ centre: 95_000 * (x + 1), count: 1 }, `${name}.miss`, "first call", x),
          curve({ centre: 1900 }, `${name}.hit`, "later calls", x),
        ]),
      ),
      experiment(
        "zipf",
        [0, 64, 256, 1024, 4710].flatMap((x) => [
          curve({ centre: 12 + x / 40, unit: "per_s" }, `rate-${x}`, "calls per second", x),
          curve({ centre: x * 0.9e6, unit: "bytes", role: "context" }, `memory-${x}`, "memory", x),
          curve({ centre: x / 20, unit: "count", role: "context" }, `zygotes-${x}`, "zygotes", x),
        ]),
      ),
    ],
  };
}
