import { describe, expect, test } from "bun:test";

import { BARS, judge } from "../../../bench/bars.ts";
import { compare } from "../../../bench/compare.ts";
import { EXPERIMENTS } from "../../../bench/experiments/index.ts";
import type { ResultFile } from "../../../bench/harness/results.ts";
import { mergeRuns } from "../../../bench/harness/merge.ts";
import { exampleResults, exampleSeries } from "./example-results.ts";

const verdictOf = (results: ResultFile, id: string): string | undefined =>
  judge(
    results,
    BARS.filter((bar) => bar.id === id),
  )[0]?.verdict;

function replaced(results: ResultFile, experiment: string, id: string, centre: number): ResultFile {
  return {
    ...results,
    experiments: results.experiments.map((each) =>
      each.name === experiment
        ? {
            ...each,
            series: each.series.map((series) =>
              series.id === id ? { ...exampleSeries({ id, centre }), role: series.role } : series,
            ),
          }
        : each,
    ),
  };
}

/** Comparing fewer figures keeps the tests quick. */
function coldStartOnly(factor = 1): ResultFile {
  const results = exampleResults(factor);
  return {
    ...results,
    experiments: results.experiments.filter(({ name }) => name === "cold-start"),
  };
}

describe("judge()", () => {
  test("passes and fails a ratio by the reference of the same run", () => {
    expect(verdictOf(exampleResults(), "cold-floor")).toBe("pass");
    expect(verdictOf(exampleResults(1.2), "cold-floor")).toBe("fail");
    const slowMachine = replaced(exampleResults(1.2), "cold-start", "namespaces", 800);
    expect(verdictOf(slowMachine, "cold-floor")).toBe("pass");
  });

  test("subtracts /status from a warm call", () => {
    expect(verdictOf(exampleResults(), "warm")).toBe("pass");
    expect(verdictOf(replaced(exampleResults(), "cold-start", "warm", 260), "warm")).toBe("fail");
  });

  test("says which bars were not measured", () => {
    expect(verdictOf({ ...exampleResults(), experiments: [] }, "cold-floor")).toBe("not measured");
    expect(verdictOf(exampleResults(), "leaks")).toBe("not measured");
  });

  test("counts the worst of what was left over, memory in whole megabytes", () => {
    const [first] = exampleResults().experiments;
    const kinds = ["mounts", "cgroups", "processes", "workerFds", "scratchEntries"];
    const leaked = (mounts: number, rss: number): ResultFile => ({
      ...exampleResults(),
      experiments: [
        {
          ...(first as ResultFile["experiments"][number]),
          name: "leaks",
          series: [...kinds, "workerRssBytes"].map((kind) => ({
            ...exampleSeries({ id: `left-${kind}`, centre: 0 }),
            unit: kind === "workerRssBytes" ? ("bytes" as const) : ("count" as const),
            rounds: [[kind === "workerRssBytes" ? rss : kind === "mounts" ? mounts : -1]],
          })),
        },
      ],
    });
    expect(verdictOf(leaked(0, 900_000), "leaks")).toBe("pass");
    expect(verdictOf(leaked(1, 0), "leaks")).toBe("fail");
    expect(verdictOf(leaked(0, 2 ** 21), "leaks")).toBe("fail");
  });

  test("every bar names an experiment that exists, once", () => {
    const names = new Set(EXPERIMENTS.map(({ name }) => name));
    expect(BARS.filter(({ experiment }) => !names.has(experiment))).toEqual([]);
    expect(new Set(BARS.map(({ id }) => id)).size).toBe(BARS.length);
  });
});

describe("compare()", () => {
  const find = (after: ResultFile, id: string): string | undefined =>
    compare(coldStartOnly(), after).differences.find((each) => each.id === id)?.verdict;

  test("calls a 20 % slower figure worse, a faster one better, and leaves the rest alone", () => {
    expect(find(coldStartOnly(1.2), "cold")).toBe("worse");
    expect(find(coldStartOnly(0.8), "cold")).toBe("better");
    expect(find(coldStartOnly(1.2), "warm")).toBe("no difference shown");
  });

  test("finds nothing between a run and itself", () => {
    const { differences, warnings } = compare(coldStartOnly(), coldStartOnly());
    expect(
      differences.filter(({ verdict }) => verdict === "worse" || verdict === "better"),
    ).toEqual([]);
    expect(warnings).toEqual([]);
  });

  test("does not call one slow round of many samples a difference", () => {
    const base = coldStartOnly();
    const [first, ...rest] = base.experiments;
    if (first === undefined) throw new Error("the example has no experiment");
    const series = first.series.map((each) => {
      if (each.id !== "cold") return each;
      return {
        ...each,
        rounds: each.rounds.map((round, i) => (i < 2 ? round.map((us) => us * 1.5) : round)),
      };
    });
    expect(find({ ...base, experiments: [{ ...first, series }, ...rest] }, "cold")).toBe(
      "no difference shown",
    );
  });

  test("warns when the machine or its references differ", () => {
    const slower = ["fork", "namespaces", "python-isolated", "chroot-python"].reduce(
      (results, id) => replaced(results, "cold-start", id, 20_000),
      coldStartOnly(),
    );
    const other = { ...slower, machine: { ...slower.machine, kernel: "6.1" } };
    const { warnings } = compare(coldStartOnly(), other);
    expect(warnings).toContainEqual('the runs differ in kernel: "6.18" and "6.1"');
    expect(warnings.some((warning) => warning.includes("the machine itself was"))).toBe(true);
  });
});

test("mergeRuns() joins the rounds of runs and keeps a failure", () => {
  const [a, b] = [exampleResults(), exampleResults(1.1)];
  const [first, ...rest] = b.experiments;
  if (first === undefined) throw new Error("the example has no experiment");
  const merged = mergeRuns([a, { ...b, experiments: [{ ...first, failed: "why" }, ...rest] }]);
  const cold = merged.experiments[0]?.series.find(({ id }) => id === "cold");
  expect(cold?.rounds).toHaveLength(16);
  expect(merged.experiments[0]?.failed).toBe("why");
  expect(merged.experiments.map(({ name }) => name)).toEqual(a.experiments.map(({ name }) => name));
  expect(merged.durationMs).toBe(120_000);
});
