/** Which pictures each experiment gets. */

import type { ExperimentResult, Series } from "../harness/results.ts";
import { dotChart } from "./dot-chart.ts";
import { ecdfChart } from "./ecdf-chart.ts";
import { lineChart, type LineChartOptions } from "./line-chart.ts";
import { stackChart, stacksOf } from "./stack-chart.ts";

/** A picture and the name of its file. */
export interface Drawn {
  readonly file: string;
  readonly svg: string;
}

type Kind = "ecdf" | "stack" | "dots" | LineChartOptions;

interface Plan {
  readonly file: string;
  readonly title: string;
  readonly kind: Kind;
  readonly wanted: (series: Series) => boolean;
}

const starts = (prefix: string) => (series: Series) => series.id.startsWith(prefix);
const latency = (series: Series): boolean => series.unit === "us" && series.role !== "stage";
const curves = (unit: Series["unit"]) => (series: Series) =>
  series.curve !== null && series.unit === unit && series.role !== "context";

const over = (xTitle: string, part: Partial<LineChartOptions>): LineChartOptions => ({
  title: "",
  xTitle,
  xUnit: "plain",
  xLog: true,
  yTitle: "latency",
  yLog: true,
  ...part,
});

const tails = { quantiles: [0.5, 0.99] };

/** Pictures by experiment. */
const PLANS: Readonly<Record<string, readonly Plan[]>> = {
  "cold-start": [
    {
      file: "cold-start",
      title: "A call, cold to warm, against forks, interpreters and Docker",
      kind: "ecdf",
      wanted: latency,
    },
    {
      file: "cold-start-stages",
      title: "Where the time of a call goes",
      kind: "stack",
      wanted: () => true,
    },
  ],
  "cold-rate": [
    {
      file: "cold-rate",
      title: "Cold starts per second",
      kind: over("clients", { yLog: false, yTitle: "cold starts per second" }),
      wanted: curves("per_s"),
    },
    {
      file: "cold-rate-latency",
      title: "Cold latency under concurrency",
      kind: over("clients", tails),
      wanted: curves("us"),
    },
  ],
  throughput: [
    {
      file: "throughput",
      title: "Warm calls per second",
      kind: over("clients, closed loop", { yLog: false, yTitle: "calls per second" }),
      wanted: curves("per_s"),
    },
    {
      file: "throughput-latency",
      title: "Warm latency under concurrency (median)",
      kind: over("clients, closed loop", {}),
      wanted: (series) => curves("us")(series) && !/arrivals/.test(series.label),
    },
    {
      file: "open-loop",
      title: "Latency under open arrivals, from the intended start",
      kind: over("percent of the closed-loop peak", { xLog: false, ...tails }),
      wanted: (series) => curves("us")(series) && /arrivals/.test(series.label),
    },
  ],
  density: [
    {
      file: "density-latency",
      title: "Cold start among live sandboxes",
      kind: over("live sandboxes", { xLog: false, yLog: false, ...tails }),
      wanted: starts("cold-"),
    },
    {
      file: "density-memory",
      title: "Memory per live sandbox",
      kind: over("live sandboxes", {
        xLog: false,
        yLog: false,
        yTitle: "memory of the machine per sandbox",
      }),
      wanted: starts("memory-each-"),
    },
  ],
  "code-size": [
    {
      file: "code-size",
      title: "Cold start over the size of the source",
      kind: over("bytes of source", { xUnit: "bytes", ...tails }),
      wanted: curves("us"),
    },
  ],
  "body-size": [
    {
      file: "body-size",
      title: "Warm call over the size of event and result",
      kind: over("bytes each way", { xUnit: "bytes" }),
      wanted: curves("us"),
    },
  ],
  "import-cache": [
    {
      file: "import-cache",
      title: "Cold start by package: no cache, miss, hit",
      kind: "dots",
      wanted: latency,
    },
  ],
  install: [{ file: "install", title: "First call with a package", kind: "dots", wanted: latency }],
  "handler-cache": [
    {
      file: "handler-cache",
      title: "Cache combinations under Zipf popularity",
      kind: "ecdf",
      wanted: latency,
    },
  ],
  "start-up": [{ file: "start-up", title: "Start-up", kind: "dots", wanted: latency }],
  zipf: [
    {
      file: "zipf",
      title: "Cold calls per second over the size of the import cache",
      kind: over("import cache in MB (0: root zygote only)", {
        yLog: false,
        yTitle: "calls per second",
      }),
      wanted: starts("rate-"),
    },
    {
      file: "zipf-latency",
      title: "Cold latency over the size of the import cache",
      kind: over("import cache in MB (0: root zygote only)", tails),
      wanted: starts("latency-"),
    },
    {
      file: "zipf-memory",
      title: "Memory of zygotes over the size of the import cache",
      kind: over("import cache in MB (0: root zygote only)", {
        yLog: false,
        yTitle: "memory charged to zygotes",
      }),
      wanted: starts("memory-"),
    },
    {
      file: "zipf-zygotes",
      title: "Zygotes over the size of the import cache",
      kind: over("import cache in MB (0: root zygote only)", { yLog: false, yTitle: "zygotes" }),
      wanted: starts("zygotes-"),
    },
  ],
  "zygote-size": [
    {
      file: "zygote-size",
      title: "Cold start over the memory of the zygote",
      kind: over("MB that the zygote holds", { xLog: false, yLog: false, ...tails }),
      wanted: curves("us"),
    },
  ],
  micro: [{ file: "micro", title: "Single calls by mitata", kind: "ecdf", wanted: latency }],
  "docker-engine": [
    { file: "docker-engine", title: "Engines, cold and warm", kind: "ecdf", wanted: latency },
  ],
  instruments: [
    {
      file: "instruments",
      title: "The same server by three instruments",
      kind: "dots",
      wanted: (series) => series.unit === "us",
    },
  ],
};

function draw(plan: Plan, experiment: ExperimentResult): string | null {
  const list = experiment.series.filter(
    (series) => plan.wanted(series) && series.rounds.flat().length > 0,
  );
  if (list.length === 0) return null;
  if (plan.kind === "ecdf") return ecdfChart(plan.title, list);
  if (plan.kind === "dots") return dotChart(plan.title, list);
  if (plan.kind === "stack") {
    const stacks = stacksOf(list);
    return stacks.length === 0 ? null : stackChart(plan.title, stacks);
  }
  return lineChart(list, { ...plan.kind, title: plan.title });
}

/**
 * @param experiment with its samples
 * @returns its pictures; none where nothing was measured
 */
export function picturesOf(experiment: ExperimentResult): Drawn[] {
  return (PLANS[experiment.name] ?? []).flatMap((plan) => {
    const svg = draw(plan, experiment);
    return svg === null ? [] : [{ file: `${plan.file}.svg`, svg }];
  });
}

/**
 * @param experiment with its samples
 * @param file name of one of its pictures, without ending
 * @returns that picture with its title, or null where it cannot be drawn
 */
export function pictureOf(
  experiment: ExperimentResult,
  file: string,
): { readonly title: string; readonly svg: string } | null {
  const plan = PLANS[experiment.name]?.find((each) => each.file === file);
  const svg = plan === undefined ? null : draw(plan, experiment);
  return plan === undefined || svg === null ? null : { title: plan.title, svg };
}
