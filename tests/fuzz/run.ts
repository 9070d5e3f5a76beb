/**
 * Fuzzing: `bun tests/fuzz/run.ts --minutes N [--only NAME] [--seed S]`. Runs every target in turn
 * with ever new seeds. A finding is printed with its seed and smallest case; `--only NAME --seed S`
 * replays it. Exit status 0 only without findings. As root, because one target is a running worker.
 */

import * as fc from "fast-check";
import { writeSync } from "node:fs";
import { parseArgs } from "node:util";

import { ANSWER_TARGETS } from "./answer-targets.ts";
import { INPUT_TARGETS } from "./input-targets.ts";
import { networkTargets } from "./network-targets.ts";
import { PROTOCOL_TARGETS } from "./protocol-targets.ts";
import type { Target } from "./target.ts";

/** What happened to one target so far. */
interface Score {
  cases: number;
  readonly findings: string[];
}

/** Findings of one target after which it is left alone: more would be the same one again. */
const FINDINGS_MAX = 3;

function writeLine(text: string): void {
  // Not process.stdout: that opens a descriptor, which would look like a leak.
  writeSync(1, `${text}\n`);
}

async function tryOnce(
  { name, runs, property }: Target,
  seed: number,
  score: Score,
): Promise<void> {
  const details = await fc.check(property as fc.IAsyncProperty<unknown>, { numRuns: runs, seed });
  score.cases += details.numRuns;
  if (!details.failed) return;
  const error = Bun.inspect(details.errorInstance).slice(0, 1_500);
  const example = fc.stringify(details.counterexample).slice(0, 1_500);
  score.findings.push(`${name}, --seed ${seed}: ${error}\n  smallest case: ${example}`);
  writeLine(`finding: ${score.findings.at(-1)}`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "5" },
      only: { type: "string" },
      seed: { type: "string" },
    },
  });
  const firstSeed = Number(values.seed ?? Math.trunc(Math.random() * 2 ** 31));
  writeLine(`fuzz: first seed ${firstSeed}`);
  // The runtime opens pipes with the first file stream and keeps them: to be there before the
  // worker's helper takes stock of what is open.
  for (const one of INPUT_TARGETS) await fc.check(one.property as never, { numRuns: 20 });
  const network = await networkTargets();
  const scores = new Map<string, Score>();
  try {
    const all = [...PROTOCOL_TARGETS, ...INPUT_TARGETS, ...ANSWER_TARGETS, ...network.targets];
    const chosen = all.filter(({ name }) => values.only === undefined || name === values.only);
    if (chosen.length === 0) {
      writeLine(`no such target; there are: ${all.map(({ name }) => name).join(", ")}`);
      return 2;
    }
    const endMs = performance.now() + Number(values.minutes) * 60_000;
    for (let seed = firstSeed; performance.now() < endMs; seed++) {
      for (const one of chosen) {
        const score = scores.get(one.name) ?? { cases: 0, findings: [] };
        scores.set(one.name, score);
        if (score.findings.length < FINDINGS_MAX) await tryOnce(one, seed, score);
      }
      if (values.seed !== undefined && values.only !== undefined) break;
    }
  } finally {
    await network.close();
  }
  let total = 0;
  for (const [name, { cases, findings }] of scores) {
    writeLine(`${name}: ${cases} cases, ${findings.length} findings`);
    total += findings.length;
  }
  writeLine(total === 0 ? "fuzz passed" : "fuzz failed");
  return total === 0 ? 0 : 1;
}

process.exitCode = await main();
