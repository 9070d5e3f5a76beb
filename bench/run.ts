/**
 * The benchmark suite's command line. It drives the compiled executable through its commands and its
 * HTTP port only; nothing of `src/` is imported anywhere below `bench/`.
 */

import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { barsStatus, judge } from "./bars.ts";
import { compare } from "./compare.ts";
import { EXPERIMENTS } from "./experiments/index.ts";
import type { Experiment } from "./harness/experiment.ts";
import { requireExecutable } from "./harness/cluster.ts";
import { progress, say } from "./harness/output.ts";
import { readResults, writeResults, type ResultFile, type Scale } from "./harness/results.ts";
import { runSuite } from "./harness/suite.ts";
import { mergeRuns } from "./harness/merge.ts";
import { printBars, printComparison, printSummary } from "./harness/tables.ts";
import { BARS } from "./promises.ts";
import { writeFigures } from "./report/readme.ts";
import { writeReport } from "./report/page.ts";
import { Random } from "./stats/random.ts";
import { drawZygoteTree } from "./zygote-tree.ts";

const ROOT = resolve(import.meta.dir, "..");
const RESULTS = join(import.meta.dir, "results");

const USAGE = `bench [EXPERIMENT …]        measure (all experiments by default)
bench smoke                 everything once with tiny sizes; no figure of it means anything
bench ab OTHER_OL [EXPERIMENT …]  measure two executables in turns and compare them
bench compare A.json B.json which differences are real
bench report [FILE]         one HTML page and SVG pictures (default: the newest run)
bench report --readme FILE  puts its bars and two pictures into README.md and bench/pictures/
bench tree                  draws the import cache of a worker into bench/pictures/zygote-tree.svg
bench bars [FILE]           the table of promises; exit 1: one is missed, 3: one was not measured
bench list                  what can be measured

  --scale full|small        how much (default full)
  --seed TEXT               of arrivals, orders and resamples (default: random, recorded)
  --ol PATH                 executable to measure (default bin/ol)
  --out FILE                where to write the raw samples (default bench/results/<time>.json)
  --turns N                 ab: how often each executable is measured (default 5; below 4 nothing is said)
  --threshold PERCENT       compare, ab: smallest change that matters (default 3)`;

/** Newest result file. */
function newest(): string {
  const files = existsSync(RESULTS)
    ? readdirSync(RESULTS)
        .filter((name) => name.endsWith(".json"))
        .toSorted()
    : [];
  const last = files.at(-1);
  if (last === undefined) throw new Error('Cannot find results: run "npm run bench" first');
  return join(RESULTS, last);
}

interface Flags {
  readonly scale?: string;
  readonly seed?: string;
  readonly ol?: string;
  readonly out?: string;
  readonly threshold?: string;
  readonly turns?: string;
}

function scaleOf(text: string): Scale {
  if (text === "full" || text === "small" || text === "smoke") return text;
  throw new Error(`Cannot use scale "${text}": wanted full, small or smoke`);
}

function experimentsOf(names: readonly string[]): Experiment[] {
  const unknown = names.filter((name) => !EXPERIMENTS.some((each) => each.name === name));
  if (unknown.length > 0) {
    const known = EXPERIMENTS.map(({ name }) => name).join(", ");
    throw new Error(`Cannot run "${unknown.join('", "')}": the experiments are ${known}`);
  }
  return EXPERIMENTS.filter(({ name }) => names.length === 0 || names.includes(name));
}

const stamp = (): string => new Date().toISOString().replaceAll(/[:.]/g, "-");

const thresholdOf = (flags: Flags): number => Number(flags.threshold ?? 3) / 100;

/** Measures; the exit status says whether everything could be, never how fast it was. */
async function measure(names: readonly string[], flags: Flags): Promise<number> {
  const wanted = experimentsOf(names);
  const ol = resolve(flags.ol ?? join(ROOT, "bin", "ol"));
  requireExecutable(ol);
  const out = resolve(flags.out ?? join(RESULTS, `${stamp()}.json`));
  mkdirSync(join(out, ".."), { recursive: true });
  const results = await runSuite(wanted, {
    ol,
    root: ROOT,
    scale: scaleOf(flags.scale ?? "full"),
    seed: flags.seed ?? crypto.randomUUID().slice(0, 8),
    command: ["bench", ...process.argv.slice(2)].join(" "),
    saved: async (file) => await writeResults(out, file),
  });
  printSummary(results);
  const ran = new Set(wanted.map(({ name }) => name));
  const bars = BARS.filter(({ experiment }) => ran.has(experiment));
  if (bars.length > 0) printBars(judge(results, bars));
  say(`\nRaw samples: ${out}\nReport:      npm run bench -- report ${out}`);
  return verdict(results);
}

/** Two executables in turns: a drift of the machine hits both. */
async function ab(other: string, names: readonly string[], flags: Flags): Promise<number> {
  const wanted = experimentsOf(names);
  const sides = { before: resolve(other), after: resolve(flags.ol ?? join(ROOT, "bin", "ol")) };
  for (const ol of Object.values(sides)) requireExecutable(ol);
  mkdirSync(RESULTS, { recursive: true });
  const at = stamp();
  const seed = flags.seed ?? crypto.randomUUID().slice(0, 8);
  const order = new Random(seed);
  const runs = { before: [] as ResultFile[], after: [] as ResultFile[] };
  const merged: Partial<Record<keyof typeof sides, ResultFile>> = {};
  for (let turn = 0; turn < Number(flags.turns ?? 5); turn++) {
    for (const side of order.shuffled(["before", "after"] as const)) {
      progress(`turn ${turn + 1}: ${side}, ${sides[side]}`);
      const scale = scaleOf(flags.scale ?? "small");
      const command = ["bench", ...process.argv.slice(2)].join(" ");
      const options = {
        ol: sides[side],
        root: ROOT,
        scale,
        seed: `${seed}-${turn}`,
        command,
      };
      runs[side].push(await runSuite(wanted, options));
      const [first, ...rest] = runs[side];
      if (first === undefined) continue;
      merged[side] = mergeRuns([first, ...rest]);
      await writeResults(join(RESULTS, `${at}-${side}.json`), merged[side]);
    }
  }
  const { before, after } = merged;
  if (before === undefined || after === undefined)
    throw new Error("Cannot compare: wanted 1 turn or more");
  printComparison(compare(before, after, thresholdOf(flags)));
  return Math.max(verdict(before), verdict(after));
}

function verdict(results: ResultFile): number {
  const failed = results.experiments.filter((each) => each.failed !== null);
  for (const { name, failed: why } of failed) progress(`${name} failed: ${why}`);
  return failed.length > 0 ? 1 : 0;
}

/** @returns the exit status */
async function main(argv: readonly string[]): Promise<number> {
  const text = { type: "string" } as const;
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      scale: text,
      seed: text,
      ol: text,
      out: text,
      threshold: text,
      turns: text,
      readme: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  const [first = "", ...rest] = positionals;
  if (values.help === true) {
    say(USAGE);
    return 0;
  }
  switch (first) {
    case "list": {
      for (const { name, question, minutes } of EXPERIMENTS) {
        say(`${name.padEnd(16)} ${`~${minutes} min`.padStart(8)}  ${question}`);
      }
      const total = EXPERIMENTS.reduce((sum, { minutes }) => sum + minutes, 0);
      say(`${"all".padEnd(16)} ${`~${total} min`.padStart(8)}  at full scale on 2 quiet cores`);
      return 0;
    }
    case "smoke":
      return await measure(rest, { seed: "smoke", ...values, scale: "smoke" });
    case "compare": {
      const [before, after] = rest;
      if (before === undefined || after === undefined)
        throw new Error("Cannot compare: wanted two result files");
      printComparison(
        compare(await readResults(before), await readResults(after), thresholdOf(values)),
      );
      return 0;
    }
    case "ab": {
      const [other, ...names] = rest;
      if (other === undefined) throw new Error("Cannot compare: wanted another executable");
      return await ab(other, names, values);
    }
    case "report": {
      const file = resolve(rest[0] ?? newest());
      const written =
        values.readme === true ? await writeFigures(file, ROOT) : await writeReport(file);
      for (const each of written) say(each);
      return 0;
    }
    case "tree": {
      const ol = resolve(values.ol ?? join(ROOT, "bin", "ol"));
      requireExecutable(ol);
      const out = resolve(values.out ?? join(import.meta.dir, "pictures", "zygote-tree.svg"));
      say(await drawZygoteTree(ol, { root: ROOT, seed: values.seed ?? "tree", out }));
      return 0;
    }
    case "bars": {
      const outcomes = judge(await readResults(rest[0] ?? newest()));
      printBars(outcomes);
      return barsStatus(outcomes);
    }
    default:
      return await measure(positionals, values);
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  progress(error instanceof Error ? error.message : String(error));
  process.exitCode = 2;
}
