/** Runs experiments one after another and writes what they found. */

import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";

import { ExperimentContext } from "./context.ts";
import type { Experiment } from "./experiment.ts";
import { machineFacts } from "./machine.ts";
import { progress } from "./output.ts";
import { RESULT_FORMAT, type ExperimentResult, type ResultFile, type Scale } from "./results.ts";

/** How a run is to be. */
export interface SuiteOptions {
  readonly ol: string;
  readonly root: string;
  readonly scale: Scale;
  readonly seed: string;
  readonly command: string;
  /** Told of each finished experiment, so that a killed run loses one at most. */
  readonly saved?: (results: ResultFile) => Promise<void>;
}

async function runOne(
  experiment: Experiment,
  options: SuiteOptions,
  workDir: string,
): Promise<ExperimentResult> {
  const { ol, scale, seed } = options;
  const loadBefore = loadavg()[0] ?? 0;
  const begin = performance.now();
  const context = new ExperimentContext({ ol, scale, seed, name: experiment.name, workDir });
  let failed: string | null = null;
  try {
    await experiment.run(context);
  } catch (error) {
    failed = error instanceof Error ? error.message : String(error);
    progress(`  ${experiment.name}: FAILED: ${failed}`);
  }
  const problems = await context.close();
  for (const problem of problems) progress(`  ${experiment.name}: while closing: ${problem}`);
  const { name, title, question } = experiment;
  failed ??= problems.length > 0 ? `closing failed: ${problems.join("; ")}` : null;
  const durationMs = Math.round(performance.now() - begin);
  return context.recorder.finish({ name, title, question, failed, durationMs, loadBefore });
}

/**
 * @param experiments in the order to run them
 * @param options of the run
 * @returns the whole run; failed experiments are in it, marked as such
 */
export async function runSuite(
  experiments: readonly Experiment[],
  options: SuiteOptions,
): Promise<ResultFile> {
  const workDir = mkdtempSync(join(tmpdir(), "ol-bench-"));
  const begin = performance.now();
  const head = {
    format: RESULT_FORMAT,
    startedAt: new Date().toISOString(),
    command: options.command,
    seed: options.seed,
    scale: options.scale,
    machine: await machineFacts(options.ol, options.root),
  } as const;
  const done: ExperimentResult[] = [];
  const results = (): ResultFile => ({
    ...head,
    durationMs: Math.round(performance.now() - begin),
    experiments: done,
  });
  try {
    for (const experiment of experiments) {
      progress(`${experiment.name}: ${experiment.question}`);
      done.push(await runOne(experiment, options, workDir));
      await options.saved?.(results());
    }
  } finally {
    rmSync(workDir, { recursive: true, force: true });
  }
  return results();
}
