/**
 * The performance budget as data: what the project promises of its speed, each row with the reference
 * that was measured in the same run. The report, the README and the exit of `bench bars` read this.
 */

import {
  findSeries,
  samplesOf,
  type ResultFile,
  type Series,
  type Unit,
} from "./harness/results.ts";
import { quantileInterval, ratioInterval, type Interval } from "./stats/bootstrap.ts";
import { median } from "./stats/quantiles.ts";
import { Random } from "./stats/random.ts";

/** One promise. */
export interface Bar {
  readonly id: string;
  readonly figure: string;
  readonly reference: string;
  readonly limit: { readonly kind: "at most" | "at least"; readonly value: number };
  readonly unit: Unit;
  /** Which experiment gives it. */
  readonly experiment: string;
  /** @returns the measured figure, or null where the run lacks a series for it */
  measure(series: (id: string) => Series | null): Interval | null;
}

/** A promise held against a run. */
export interface BarOutcome {
  readonly bar: Bar;
  /** Null: not measured in this run. */
  readonly measured: Interval | null;
  /** By the estimate. */
  readonly verdict: "pass" | "fail" | "not measured";
  /** Whether the whole interval lies on the verdict's side. */
  readonly clear: boolean;
}

type Find = (id: string) => Series | null;

const random = (id: string): Random => new Random(`bars/${id}`);

/** Ratio of two medians. */
const ratio =
  (above: string, below: string) =>
  (find: Find): Interval | null => {
    const [a, b] = [find(above), find(below)];
    if (a === null || b === null) return null;
    return ratioInterval(a.rounds, b.rounds, 0.5, random(`${above}/${below}`));
  };

/** One quantile of one series. */
const value =
  (id: string, q = 0.5) =>
  (find: Find): Interval | null => {
    const series = find(id);
    return series === null ? null : quantileInterval(series.rounds, q, random(id));
  };

/** p99 over p50 of one series, by round-free estimate with the interval of its p99. */
const tail =
  (id: string) =>
  (find: Find): Interval | null => {
    const series = find(id);
    if (series === null) return null;
    const p50 = median(samplesOf(series));
    const p99 = quantileInterval(series.rounds, 0.99, random(`${id}.tail`));
    return { estimate: p99.estimate / p50, low: p99.low / p50, high: p99.high / p50 };
  };

/** Difference of two medians. */
const difference =
  (of: string, over: string) =>
  (find: Find): Interval | null => {
    const [a, b] = [find(of), find(over)];
    if (a === null || b === null) return null;
    const [x, y] = [value(of)(find), value(over)(find)];
    if (x === null || y === null) return null;
    return { estimate: x.estimate - y.estimate, low: x.low - y.high, high: x.high - y.low };
  };

/** The worst of what rounds left over in the median; memory is counted in whole megabytes. */
function leftOver(find: Find): Interval | null {
  const kinds = ["mounts", "cgroups", "processes", "workerFds", "scratchEntries", "workerRssBytes"];
  let worst = Number.NEGATIVE_INFINITY;
  for (const kind of kinds) {
    const series = find(`left-${kind}`);
    if (series === null) return null;
    const left = median(samplesOf(series));
    worst = Math.max(worst, series.unit === "bytes" ? Math.floor(left / 2 ** 20) : left);
  }
  const left = Math.max(0, worst);
  return { estimate: left, low: left, high: left };
}

const atMost = (limit: number) => ({ kind: "at most", value: limit }) as const;
const atLeast = (limit: number) => ({ kind: "at least", value: limit }) as const;

/** The budget, row by row. */
export const BARS: readonly Bar[] = [
  {
    id: "cold-floor",
    figure: "cold start, hello, HTTP to HTTP, p50",
    reference: "bare floor: fork + namespaces + exit of a Python with the same modules",
    limit: atMost(2.5),
    unit: "ratio",
    experiment: "cold-start",
    measure: ratio("cold", "namespaces"),
  },
  {
    id: "cold-docker",
    figure: "docker run of the same base, p50, over a cold start",
    reference: "docker run --network none, python3 -c pass",
    limit: atLeast(150),
    unit: "ratio",
    experiment: "cold-start",
    measure: ratio("docker-run", "cold"),
  },
  {
    id: "cold-python",
    figure: "cold start, p50",
    reference: "chroot base python3 -I -S -c pass",
    limit: atMost(0.25),
    unit: "ratio",
    experiment: "cold-start",
    measure: ratio("cold", "chroot-python"),
  },
  {
    id: "cold-tail",
    figure: "cold start, one client, p99",
    reference: "its own p50",
    limit: atMost(4),
    unit: "ratio",
    experiment: "cold-start",
    measure: tail("cold"),
  },
  ...["numpy", "pandas"].map((name) => ({
    id: `import-${name}`,
    figure: `cold start with ${name} without the import cache, p50, over with it`,
    reference: "the same lambda, import cache off",
    limit: atLeast(45),
    unit: "ratio" as const,
    experiment: "import-cache",
    measure: ratio(`${name}.none`, `${name}.hit`),
  })),
  {
    id: "warm",
    figure: "warm call, one client, p50",
    reference: "less GET /status of the same server",
    limit: atMost(100),
    unit: "us",
    experiment: "cold-start",
    measure: difference("warm", "status"),
  },
  {
    id: "throughput",
    figure: "warm throughput, 8 clients",
    reference: "none (2 cores)",
    limit: atLeast(20_000),
    unit: "per_s",
    experiment: "throughput",
    measure: value("rate-ol-8"),
  },
  {
    id: "cold-rate",
    figure: "cold starts per second, 4 clients, full isolation",
    reference: "none (2 cores)",
    limit: atLeast(450),
    unit: "per_s",
    experiment: "cold-rate",
    measure: value("rate-clients-4"),
  },
  {
    id: "density-latency",
    figure: "cold start among 1,000 live sandboxes, p50",
    reference: "the same with none",
    limit: atMost(2.5),
    unit: "ratio",
    experiment: "density",
    measure: ratio("cold-1000", "cold-0"),
  },
  {
    id: "density-memory",
    figure: "memory per live sandbox at 1,000",
    reference: "none",
    limit: atMost(1.5 * 2 ** 20),
    unit: "bytes",
    experiment: "density",
    measure: value("memory-each-1000"),
  },
  {
    id: "leaks",
    figure: "left over after 1,000 creates and destroys (worst of mounts … megabytes)",
    reference: "counts before",
    limit: atMost(0),
    unit: "count",
    experiment: "leaks",
    measure: leftOver,
  },
  {
    id: "ready",
    figure: "ol new + ol workers until ready, p50",
    reference: "none",
    limit: atMost(500_000),
    unit: "us",
    experiment: "start-up",
    measure: value("new-workers"),
  },
  {
    id: "version",
    figure: "ol --version, p50",
    reference: "none",
    limit: atMost(30_000),
    unit: "us",
    experiment: "start-up",
    measure: value("version"),
  },
];

/**
 * @param results one run
 * @param bars default: the budget
 * @returns every promise held against the run
 */
export function judge(results: ResultFile, bars: readonly Bar[] = BARS): BarOutcome[] {
  return bars.map((bar) => {
    const measured = bar.measure((id) => findSeries(results, bar.experiment, id));
    if (measured === null || Number.isNaN(measured.estimate)) {
      return { bar, measured: null, verdict: "not measured", clear: false };
    }
    const within = (figure: number): boolean =>
      bar.limit.kind === "at most" ? figure <= bar.limit.value : figure >= bar.limit.value;
    const pass = within(measured.estimate);
    const clear = within(measured.low) === pass && within(measured.high) === pass;
    return { bar, measured, verdict: pass ? "pass" : "fail", clear };
  });
}
