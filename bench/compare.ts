/**
 * Tells which differences between two runs are real.
 *
 * A run's rounds are its independent repetitions, so medians of rounds are compared by permutation,
 * not the thousands of samples inside them (which would call any drift of the machine significant). All
 * questions of one comparison share a false discovery rate, and a difference below the threshold is
 * not reported however certain it is.
 */

import type { ResultFile, Series } from "./harness/results.ts";
import { ratioInterval, type Interval } from "./stats/bootstrap.ts";
import { quantile, sorted } from "./stats/quantiles.ts";
import { Random } from "./stats/random.ts";
import { adjustForMany, mannWhitney, permutationTest } from "./stats/significance.ts";

/** Rounds on both sides below which single samples are compared instead. */
const ROUNDS_MIN = 5;

/** Samples on both sides below which nothing is said. */
const SAMPLES_MIN = 8;

/** Samples per round that a p99 by round needs to mean anything. */
const TAIL_SAMPLES_MIN = 100;

/** Share of the differences called real that may be false. */
const FALSE_DISCOVERY_RATE = 0.05;

/** What a comparison says of one figure. */
export type Verdict = "better" | "worse" | "no difference shown" | "too few samples";

/** One figure in both runs. */
export interface Difference {
  readonly experiment: string;
  readonly id: string;
  readonly label: string;
  readonly role: Series["role"];
  readonly unit: Series["unit"];
  readonly statistic: "p50" | "p99";
  readonly before: number;
  readonly after: number;
  /** After divided by before. */
  readonly ratio: Interval;
  /** Adjusted for the number of questions; NaN where there were too few samples. */
  readonly p: number;
  /** What the p rests on. */
  readonly basis: "rounds" | "samples" | "nothing";
  readonly verdict: Verdict;
}

/** Both runs, figure by figure. */
export interface Comparison {
  readonly differences: readonly Difference[];
  /** Things that make the two runs less comparable. */
  readonly warnings: readonly string[];
}

interface Question {
  readonly experiment: string;
  readonly before: Series;
  readonly after: Series;
  readonly q: number;
}

/** Figures that both runs have and that can be divided. */
function questions(before: ResultFile, after: ResultFile): Question[] {
  const found: Question[] = [];
  for (const experiment of before.experiments) {
    const other = after.experiments.find((each) => each.name === experiment.name);
    for (const series of experiment.series) {
      const twin = other?.series.find((each) => each.id === series.id);
      if (twin === undefined || series.role === "context") continue;
      const usable = [series, twin].every((each) => each.rounds.flat().every((value) => value > 0));
      const enough = [series, twin].every((each) => each.rounds.flat().length > 0);
      if (!usable || !enough) continue;
      const question = { experiment: experiment.name, before: series, after: twin };
      found.push({ ...question, q: 0.5 });
      const tails = [series, twin].every((each) =>
        each.rounds.every((round) => round.length >= TAIL_SAMPLES_MIN),
      );
      if (tails && series.unit === "us") found.push({ ...question, q: 0.99 });
    }
  }
  return found;
}

/** One number per round, as a logarithm: a ratio of 2 and of 1/2 are equally far from none. */
const byRound = (series: Series, q: number): number[] =>
  series.rounds
    .filter((round) => round.length > 0)
    .map((round) => Math.log(quantile(sorted(round), q)));

function significance(
  { before, after, q }: Question,
  random: Random,
): Pick<Difference, "p" | "basis"> {
  const [a, b] = [byRound(before, q), byRound(after, q)];
  if (Math.min(a.length, b.length) >= ROUNDS_MIN) {
    return { p: permutationTest(a, b, random), basis: "rounds" };
  }
  const [x, y] = [before.rounds.flat(), after.rounds.flat()];
  if (q !== 0.5 || Math.min(x.length, y.length) < SAMPLES_MIN)
    return { p: Number.NaN, basis: "nothing" };
  return { p: mannWhitney(x, y).p, basis: "samples" };
}

function warningsOf(before: ResultFile, after: ResultFile): string[] {
  const warnings: string[] = [];
  for (const key of ["kernel", "cpu", "cores", "governor", "cgroup", "mitigations"] as const) {
    const [a, b] = [before.machine[key], after.machine[key]];
    if (a !== b) warnings.push(`the runs differ in ${key}: "${a}" and "${b}"`);
  }
  if (before.scale !== after.scale) {
    warnings.push(`the runs differ in scale: ${before.scale} and ${after.scale}`);
  }
  return warnings;
}

/** References do not depend on the project: where they moved, the machine did. */
function drift(differences: readonly Difference[], threshold: number): string[] {
  const names = [...new Set(differences.map(({ experiment }) => experiment))];
  return names.flatMap((name) => {
    const references = differences.filter(
      (each) =>
        each.experiment === name &&
        each.role === "reference" &&
        each.statistic === "p50" &&
        each.unit === "us",
    );
    if (references.length === 0) return [];
    const mean =
      references.reduce((sum, each) => sum + Math.log(each.ratio.estimate), 0) / references.length;
    const percent = (Math.exp(mean) - 1) * 100;
    if (Math.abs(percent) < threshold * 100) return [];
    return [
      `${name}: the machine itself was ${Math.abs(percent).toFixed(1)} % ${percent > 0 ? "slower" : "faster"} ` +
        "in the second run (mean of the references): read the other figures against that",
    ];
  });
}

/**
 * @param before one run
 * @param after the other
 * @param threshold smallest change that matters, as a share; default 3 %
 * @returns every figure that both have
 */
export function compare(before: ResultFile, after: ResultFile, threshold = 0.03): Comparison {
  const random = new Random(`compare/${before.seed}/${after.seed}`);
  const asked = questions(before, after);
  const found = asked.map((question) => significance(question, random.fork(question.before.id)));
  const answered = found.flatMap(({ p }, index) => (Number.isNaN(p) ? [] : [index]));
  const adjusted = adjustForMany(answered.map((index) => found[index]?.p ?? 1));
  const differences = asked.map((question, index): Difference => {
    const { experiment, before: a, after: b, q } = question;
    const ratio = ratioInterval(b.rounds, a.rounds, q, random.fork(`${a.id}/${q}`), 400);
    const position = answered.indexOf(index);
    const p = position < 0 ? Number.NaN : (adjusted[position] ?? 1);
    const real =
      p < FALSE_DISCOVERY_RATE &&
      (ratio.low > 1 || ratio.high < 1) &&
      Math.abs(Math.log(ratio.estimate)) > Math.log(1 + threshold);
    const improved = a.better === "lower" ? ratio.estimate < 1 : ratio.estimate > 1;
    const at = (series: Series): number => quantile(sorted(series.rounds.flat()), q);
    return {
      experiment,
      id: a.id,
      label: a.label,
      role: a.role,
      unit: a.unit,
      statistic: q === 0.5 ? "p50" : "p99",
      before: at(a),
      after: at(b),
      ratio,
      p,
      basis: found[index]?.basis ?? "nothing",
      verdict: verdictOf(p, real, improved),
    };
  });
  return {
    differences,
    warnings: [...warningsOf(before, after), ...drift(differences, threshold)],
  };
}

function verdictOf(p: number, real: boolean, improved: boolean): Verdict {
  if (Number.isNaN(p)) return "too few samples";
  if (!real) return "no difference shown";
  return improved ? "better" : "worse";
}
