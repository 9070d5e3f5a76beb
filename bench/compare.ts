/**
 * Tells which differences between two runs are real.
 *
 * What counts is how often something was repeated independently, not how many samples there are (which
 * would call any drift of the machine significant). In an A/B run that is a turn: a worker process of its own,
 * whose rounds share its luck. All figures are then asked in one test that permutes turns. Two single runs
 * have one worker each; medians of rounds are permuted and share a false discovery rate, and a warning says that
 * the luck of two processes cannot be told from a change of the executable. A difference below the threshold is not
 * reported however certain it is.
 */

import { independentRounds, type ResultFile, type Series } from "./harness/results.ts";
import { ratioInterval, type Interval } from "./stats/bootstrap.ts";
import { jointPermutation } from "./stats/joint.ts";
import { quantile, sorted } from "./stats/quantiles.ts";
import { Random } from "./stats/random.ts";
import { adjustForMany, mannWhitney, permutationTest } from "./stats/significance.ts";

/** Rounds on both sides below which single samples are compared instead. */
const ROUNDS_MIN = 5;

/** Turns on both sides below which an A/B run says nothing: of 3 and 3, one split in 10 is as extreme by chance. */
const TURNS_MIN = 4;

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
  readonly basis: "turns" | "rounds" | "samples" | "nothing";
  readonly verdict: Verdict;
}

/** Both runs, figure by figure. */
export interface Comparison {
  readonly differences: readonly Difference[];
  /** Figures that cannot be compared, each with the reason. */
  readonly leftOut: readonly string[];
  /** Things that make the two runs less comparable. */
  readonly warnings: readonly string[];
}

interface Question {
  readonly experiment: string;
  readonly before: Series;
  readonly after: Series;
  readonly q: number;
}

/** Why a figure cannot be divided by its twin, or null where it can. */
function obstacle(series: Series, twin: Series | undefined): string | null {
  if (twin === undefined) return "only one of the runs has it";
  const values = [series, twin].map(({ rounds }) => rounds.flat());
  if (values.some(({ length }) => length === 0)) return "it has no samples";
  if (values.some((list) => list.some((value) => value <= 0))) {
    return "it has samples of 0 or less, and ratios are what is compared";
  }
  return null;
}

/** Figures that both runs have and that can be divided, and what was left out. */
function questions(
  before: ResultFile,
  after: ResultFile,
): { asked: Question[]; leftOut: string[] } {
  const asked: Question[] = [];
  const leftOut: string[] = [];
  for (const experiment of before.experiments) {
    const other = after.experiments.find((each) => each.name === experiment.name);
    if (other === undefined) {
      leftOut.push(`${experiment.name}: only one of the runs has it`);
      continue;
    }
    for (const series of experiment.series) {
      if (series.role === "context") continue;
      const twin = other.series.find((each) => each.id === series.id);
      const why = obstacle(series, twin);
      if (why !== null || twin === undefined) {
        leftOut.push(`${experiment.name}: ${series.label}: ${why}`);
        continue;
      }
      const question = { experiment: experiment.name, before: series, after: twin };
      asked.push({ ...question, q: 0.5 });
      const tails = [series, twin].every((each) =>
        each.rounds.every((round) => round.length >= TAIL_SAMPLES_MIN),
      );
      if (tails && series.unit === "us") asked.push({ ...question, q: 0.99 });
    }
  }
  return { asked, leftOut };
}

/** One number per round or turn, as a logarithm: a ratio of 2 and of 1/2 are equally far from none. */
const logs = (rounds: readonly (readonly number[])[], q: number): number[] =>
  rounds.filter((round) => round.length > 0).map((round) => Math.log(quantile(sorted(round), q)));

/** One number per turn: the mean over its rounds, so that a turn with a slow round is no outlier. */
function byTurn({ rounds, turns = [] }: Series, q: number): number[] {
  let from = 0;
  return turns.map((count) => {
    const values = logs(rounds.slice(from, from + count), q);
    from += count;
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  });
}

/** What a test said of one question. */
type Answer = Pick<Difference, "p" | "basis">;

const NOTHING: Answer = { p: Number.NaN, basis: "nothing" };

/** Two single runs: one question by itself, p not yet adjusted. */
function singly({ before, after, q }: Question, random: Random): Answer {
  const [a, b] = [logs(before.rounds, q), logs(after.rounds, q)];
  if (Math.min(a.length, b.length) >= ROUNDS_MIN) {
    return { p: permutationTest(a, b, random), basis: "rounds" };
  }
  const [x, y] = [before.rounds.flat(), after.rounds.flat()];
  if (q !== 0.5 || Math.min(x.length, y.length) < SAMPLES_MIN) return NOTHING;
  return { p: mannWhitney(x, y).p, basis: "samples" };
}

/** Answers to all questions of two single runs, adjusted for their number. */
function byRounds(asked: readonly Question[], random: Random): Answer[] {
  const found = asked.map((question) => singly(question, random.fork(question.before.id)));
  const answered = found.flatMap(({ p }, index) => (Number.isNaN(p) ? [] : [index]));
  const adjusted = adjustForMany(answered.map((index) => found[index]?.p ?? 1));
  return found.map((answer, index) => {
    const position = answered.indexOf(index);
    return position < 0 ? NOTHING : { ...answer, p: adjusted[position] ?? 1 };
  });
}

/** Answers to all questions of an A/B run: one test that permutes turns. */
function byTurns(asked: readonly Question[], random: Random): Answer[] {
  const turns = Math.max(...asked.map(({ before }) => before.turns?.length ?? 0));
  const values = asked.map(({ before, after, q }) => ({
    a: byTurn(before, q),
    b: byTurn(after, q),
  }));
  // A figure that some turn lacks cannot be relabelled together with the others.
  const usable = values.flatMap(({ a, b }, index) =>
    a.length === turns && b.length === turns && [...a, ...b].every((value) => !Number.isNaN(value))
      ? [index]
      : [],
  );
  if (turns < TURNS_MIN) return asked.map(() => NOTHING);
  const ps = jointPermutation(
    usable.map((index) => values[index] ?? { a: [], b: [] }),
    random,
  );
  return asked.map((_, index) => {
    const position = usable.indexOf(index);
    return position < 0 ? NOTHING : { p: ps[position] ?? 1, basis: "turns" };
  });
}

/** Whether both files are joined from turns. */
const isTurned = (asked: readonly Question[]): boolean =>
  asked.length > 0 &&
  asked.every(({ before, after }) => [before, after].every((each) => each.turns));

const ONE_PROCESS =
  "each side had one worker process per arm, and two processes of one executable differ too (by a few " +
  'percent): "ab" measures several of each';

function warningsOf(before: ResultFile, after: ResultFile, turned: boolean): string[] {
  const warnings: string[] = turned ? [] : [ONE_PROCESS];
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
  const { asked, leftOut } = questions(before, after);
  const turned = isTurned(asked);
  const answers = (turned ? byTurns : byRounds)(asked, random);
  const differences = asked.map((question, index): Difference => {
    const { experiment, before: a, after: b, q } = question;
    const { p, basis } = answers[index] ?? NOTHING;
    const [above, below] = [independentRounds(b), independentRounds(a)];
    const ratio = ratioInterval(above, below, q, random.fork(`${a.id}/${q}`), 400);
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
      basis,
      verdict: verdictOf(p, real, improved),
    };
  });
  return {
    differences,
    leftOut,
    warnings: [...warningsOf(before, after, turned), ...drift(differences, threshold)],
  };
}

function verdictOf(p: number, real: boolean, improved: boolean): Verdict {
  if (Number.isNaN(p)) return "too few samples";
  if (!real) return "no difference shown";
  return improved ? "better" : "worse";
}
