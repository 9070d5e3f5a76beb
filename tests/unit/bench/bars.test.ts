import { describe, expect, test } from "bun:test";

import { barsStatus, judge } from "../../../bench/bars.ts";
import { compare } from "../../../bench/compare.ts";
import { EXPERIMENTS } from "../../../bench/experiments/index.ts";
import type { ResultFile } from "../../../bench/harness/results.ts";
import { mergeRuns } from "../../../bench/harness/merge.ts";
import { BARS } from "../../../bench/promises.ts";
import { Random } from "../../../bench/stats/random.ts";
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
    const slower = replaced(exampleResults(), "cold-start", "warm", 260);
    const bars = BARS.filter(({ id }) => id === "warm-own").map((bar) => ({
      ...bar,
      informs: false,
    }));
    expect(judge(exampleResults(), bars)[0]?.verdict).toBe("pass");
    expect(judge(slower, bars)[0]?.verdict).toBe("fail");
  });

  test("says which bars were not measured", () => {
    expect(verdictOf({ ...exampleResults(), experiments: [] }, "cold-floor")).toBe("not measured");
    expect(verdictOf(exampleResults(), "leaks")).toBe("not measured");
  });

  describe("leaks", () => {
    const LEAKS = ["mounts", "cgroups", "processes", "workerFds", "scratchEntries"];
    const left = (part: Record<string, number[]>): ResultFile => {
      const [first] = exampleResults().experiments;
      const series = [...LEAKS, "workerRssBytes"].map((kind) => ({
        ...exampleSeries({ id: `left-${kind}`, centre: 0 }),
        unit: kind === "workerRssBytes" ? ("bytes" as const) : ("count" as const),
        rounds: (part[kind] ?? [0, 0, 0, 0]).map((value) => [value]),
      }));
      return {
        ...exampleResults(),
        experiments: [{ ...(first as ResultFile["experiments"][number]), name: "leaks", series }],
      };
    };

    test("passes where nothing stays and where pools hold fewer", () => {
      expect(verdictOf(left({}), "leaks")).toBe("pass");
      expect(verdictOf(left({ processes: [1, -1, 0, -1] }), "leaks")).toBe("pass");
    });

    test("fails on one descriptor that only the last rounds lost, which a median would hide", () => {
      expect(verdictOf(left({ workerFds: [0, 0, 0, 0, 0, 1, 1] }), "leaks")).toBe("fail");
    });

    test("tells memory that grows from memory that breathes", () => {
      const mb = (values: number[]): number[] => values.map((value) => value * 2 ** 20);
      const grows = mb([1.2, 2.4, 3.6, 4.8]);
      const breathes = mb([3, -2, 4, -1, 3, -3, 2, 0]);
      expect(verdictOf(left({ workerRssBytes: grows }), "leaks")).toBe("fail");
      expect(verdictOf(left({ workerRssBytes: breathes }), "leaks")).toBe("pass");
    });
  });

  test("does not hold a package to the gain where its import is short", () => {
    // The example's requests take 270 ms without the cache; a bare import decides.
    expect(verdictOf(exampleResults(), "import-requests")).toBe("pass");
    const results = exampleResults();
    const short = exampleSeries({ id: "requests.floor", centre: 66_000, role: "reference" });
    const experiments = results.experiments.map((each) =>
      each.name === "import-cache" ? { ...each, series: [...each.series, short] } : each,
    );
    expect(verdictOf({ ...results, experiments }, "import-requests")).toBe("does not apply");
  });

  test("shows figures of one machine without a verdict", () => {
    expect(verdictOf(exampleResults(3), "cold-absolute")).toBe("for information");
  });

  test("barsStatus() tells missed, not measured and kept apart", () => {
    const only = (results: ResultFile, ids: readonly string[]): number =>
      barsStatus(
        judge(
          results,
          BARS.filter(({ id }) => ids.includes(id)),
        ),
      );
    expect(only(exampleResults(), ["cold-floor", "cold-docker"])).toBe(0);
    expect(only(exampleResults(1.2), ["cold-floor", "leaks"])).toBe(1);
    expect(only(exampleResults(), ["cold-floor", "leaks"])).toBe(3);
    expect(only({ ...exampleResults(), experiments: [] }, ["cold-absolute"])).toBe(0);
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
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("one worker process");
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

describe("compare() of runs in turns", () => {
  /** Turns of one side; each turn is a process with luck of its own, of about 4 %. */
  const turns = (side: string, factor: number): ResultFile => {
    const runs = Array.from({ length: 5 }, (_, turn) => {
      const luck = 1 + (new Random(`${side}/${turn}`).next() - 0.5) * 0.08;
      const results = coldStartOnly();
      const experiments = results.experiments.map((each) => ({
        ...each,
        series: each.series.map((series) => {
          const scale = luck * (series.id === "cold" ? factor : 1);
          return { ...series, rounds: series.rounds.map((round) => round.map((us) => us * scale)) };
        }),
      }));
      return { ...results, experiments };
    });
    const [first, ...rest] = runs;
    return mergeRuns([first as ResultFile, ...rest]);
  };

  const differing = (before: ResultFile, after: ResultFile): string[] =>
    compare(before, after)
      .differences.filter(({ verdict }) => verdict === "better" || verdict === "worse")
      .map(({ id, statistic, basis }) => `${id} ${statistic} by ${basis}`);

  test("finds a 30 % change of one figure and nothing else", () => {
    expect(differing(turns("a", 1), turns("b", 1.3))).toEqual([
      "cold p50 by turns",
      "cold p99 by turns",
    ]);
  });

  test("finds nothing between two sets of turns of one executable", () => {
    expect(differing(turns("a", 1), turns("b", 1))).toEqual([]);
  });

  test("says nothing of fewer than 4 turns", () => {
    const two = mergeRuns([coldStartOnly(), coldStartOnly()]);
    const verdicts = new Set(compare(two, two).differences.map(({ verdict }) => verdict));
    expect([...verdicts]).toEqual(["too few samples"]);
  });
});

test("compare() names the figures that it leaves out", () => {
  const zero = replaced(coldStartOnly(), "cold-start", "warm", 0);
  expect(compare(coldStartOnly(), zero).leftOut).toEqual([
    "cold-start: warm: it has samples of 0 or less, and ratios are what is compared",
  ]);
  const less = exampleResults();
  expect(compare(less, coldStartOnly()).leftOut).toContain("zipf: only one of the runs has it");
});

test("mergeRuns() joins the rounds of runs and keeps a failure", () => {
  const [a, b] = [exampleResults(), exampleResults(1.1)];
  const [first, ...rest] = b.experiments;
  if (first === undefined) throw new Error("the example has no experiment");
  const merged = mergeRuns([a, { ...b, experiments: [{ ...first, failed: "why" }, ...rest] }]);
  const cold = merged.experiments[0]?.series.find(({ id }) => id === "cold");
  expect(cold?.rounds).toHaveLength(16);
  expect(cold?.turns).toEqual([8, 8]);
  expect(merged.experiments[0]?.failed).toBe("why");
  expect(merged.experiments.map(({ name }) => name)).toEqual(a.experiments.map(({ name }) => name));
  expect(merged.durationMs).toBe(120_000);
});
