/**
 * `npm run test:layers [-- WORD…]`: switches off one layer of isolation after the other, in a copy of the source,
 * and demands that the test which the tables name for it fails, in the words that they expect; before, that the same
 * test passes in the source as it is. With words, only layers whose names contain one of them. Ends with a line
 * `N layers, N noticed, N not noticed` and exits with 0 only where all were.
 */

import { join } from "node:path";

import { prepareGround } from "../lanes/leftovers.ts";
import { type GroupResult, killGroups } from "../lanes/process-group.ts";
import { problemOfLayer, problemOfSource } from "./judge.ts";
import { type NamedTest, testsOf } from "./layer.ts";
import { LAYERS } from "./layers.ts";
import { Tree } from "./tree.ts";

/** As much of a test's output as is shown where it is not what was expected. */
const SHOWN_LINES = 60;

/** How many copies of the source are worked in at once. */
const TREES = 2;

const shown = ({ stdout, stderr }: GroupResult): string =>
  `${stdout}${stderr}`.trimEnd().split("\n").slice(-SHOWN_LINES).join("\n");

/** Runs jobs in their order, each in the first tree that is free. */
async function inTrees<Job>(
  trees: readonly Tree[],
  jobs: readonly Job[],
  run: (tree: Tree, job: Job) => Promise<void>,
): Promise<void> {
  const left = [...jobs];
  const work = async (tree: Tree): Promise<void> => {
    for (let job = left.shift(); job !== undefined; job = left.shift()) await run(tree, job);
  };
  await Promise.all(trees.map((tree) => work(tree)));
}

/** What happens, and how long it took. */
async function step(label: string, run: () => Promise<string | null>): Promise<boolean> {
  const startedMs = performance.now();
  const problem = await run().catch((error: unknown) => String(error));
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const mark = problem === null ? "ok" : "NOT NOTICED";
  process.stdout.write(`${mark.padEnd(4)} ${seconds.padStart(5)} s  ${label}\n`);
  if (problem !== null) process.stdout.write(`${problem}\n\n`);
  return problem === null;
}

/** @returns the files whose tests do not pass in the source as it is */
async function brokenFiles(
  trees: readonly Tree[],
  tests: readonly NamedTest[],
): Promise<Set<string>> {
  const broken = new Set<string>();
  await inTrees(trees, [...new Set(tests.map(({ file }) => file))], async (tree, file) => {
    const own = tests.filter((test) => test.file === file);
    const isFine = await step(`as it is: ${own.length} tests of ${file}`, async () => {
      const result = await tree.run([], own);
      const problem = problemOfSource(result, own.length);
      return problem === null ? null : `${problem}\n${shown(result)}`;
    });
    if (!isFine) broken.add(file);
  });
  return broken;
}

async function main(): Promise<boolean> {
  const words = process.argv.slice(2);
  const layers = LAYERS.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
  );
  const ground = prepareGround();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      killGroups();
      void ground.leftovers().finally(() => process.exit(1));
    });
  }
  const trees = Array.from({ length: TREES }, (_, index) => {
    return new Tree(join(ground.tempDir, `tree-${index}`), ground.tempDir);
  });
  const broken = await brokenFiles(trees, testsOf(layers));
  let noticed = 0;
  await inTrees(trees, layers, async (tree, layer) => {
    const isNoticed = await step(`${layer.name} [${layer.test.name}]`, async () => {
      if (broken.has(layer.test.file)) return "its test does not pass in the source as it is";
      const result = await tree.run(layer.edits, [layer.test]);
      const problem = problemOfLayer(layer, result);
      return problem === null ? null : `${problem}\n${shown(result)}`;
    });
    if (isNoticed) noticed += 1;
  });
  // Nothing to judge: what a sandbox without one of its layers leaves behind is not ours to mend.
  await ground.leftovers();
  const missed = layers.length - noticed;
  process.stdout.write(`\n${layers.length} layers, ${noticed} noticed, ${missed} not noticed\n`);
  return layers.length > 0 && missed === 0;
}

process.exitCode = (await main()) ? 0 : 1;
