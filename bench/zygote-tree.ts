/** Draws the import cache of a real worker after it has served real lambdas. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { lambdaOf, PACKAGE_CONFIG, type PackageChoice } from "./experiments/package-set.ts";
import { Cluster } from "./harness/cluster.ts";
import { machineFacts } from "./harness/machine.ts";
import { progress } from "./harness/output.ts";
import { treeChart } from "./report/tree-chart.ts";
import { Random } from "./stats/random.ts";
import { zipf } from "./stats/zipf.ts";

const same = (name: string): PackageChoice => ({ module: name, install: name });
const SKLEARN: PackageChoice = { module: "sklearn", install: "scikit-learn" };
const PYPLOT: PackageChoice = { module: "matplotlib.pyplot", install: "matplotlib" };
const PIL: PackageChoice = { module: "PIL", install: "pillow" };

/** What lambdas of a small shop might declare, the most called first. */
const LAMBDAS: readonly (readonly [name: string, ...packages: PackageChoice[]])[] = [
  ["fetch", same("requests")],
  ["report", same("pandas")],
  ["vector", same("numpy")],
  ["site", same("flask")],
  ["predict", SKLEARN, same("numpy")],
  ["validate", same("pydantic")],
  ["proxy", same("flask"), same("requests")],
  ["collect", same("pandas"), same("requests")],
  ["store", same("sqlalchemy")],
  ["plot", PYPLOT, same("numpy")],
  ["train", SKLEARN, same("pandas")],
  ["thumbnail", PIL],
  ["portal", same("flask"), same("sqlalchemy")],
  ["sign", same("cryptography")],
];

const CALLS = 400;
const EXPONENT = 1;
const IMPORT_CACHE_MB = 512;

/**
 * @param ol executable
 * @param options root of the project, seed of the calls, file to write
 * @returns the file, written
 */
export async function drawZygoteTree(
  ol: string,
  options: { readonly root: string; readonly seed: string; readonly out: string },
): Promise<string> {
  const workDir = mkdtempSync(join(tmpdir(), "ol-bench-tree-"));
  try {
    const config = {
      ...PACKAGE_CONFIG,
      handler_cache_size: 0,
      import_cache_size: IMPORT_CACHE_MB * 1024,
    };
    const lambdas = Object.fromEntries(
      LAMBDAS.map(([name, ...packages]) => [name, lambdaOf(...packages)]),
    );
    const cluster = await Cluster.start(ol, join(workDir, "cluster"), { config, lambdas });
    try {
      await serve(cluster, new Random(options.seed));
      const { zygotes, calls } = await cluster.stats();
      const { machine, date } = await factsOf(ol, options.root);
      const captions = [
        `${LAMBDAS.length} lambdas, ${CALLS} cold calls (Zipf ${EXPONENT}), import_cache_size of ` +
          `${IMPORT_CACHE_MB} MiB; ${calls.byStart["zygote"] ?? 0} were forked from a zygote.`,
        "Each shows the modules that it has beyond those at its left, with their memory and import time.",
        `${date}, ${machine}.`,
      ];
      mkdirSync(dirname(options.out), { recursive: true });
      const svg = treeChart("The import cache of one worker", captions, zygotes);
      writeFileSync(options.out, `${svg}\n`);
    } finally {
      await cluster.close();
    }
  } finally {
    rmSync(workDir, { recursive: true, force: true });
  }
  return options.out;
}

async function serve(cluster: Cluster, random: Random): Promise<void> {
  for (const [name] of LAMBDAS) {
    progress(`installing what "${name}" needs`);
    await cluster.call(name, null);
  }
  const draw = zipf(LAMBDAS.length, EXPONENT, random);
  for (let call = 0; call < CALLS; call += 1) await cluster.call(LAMBDAS[draw()]![0], call);
}

async function factsOf(ol: string, root: string): Promise<{ machine: string; date: string }> {
  const { cores, cpu, commit } = await machineFacts(ol, root);
  const date = new Date().toISOString().slice(0, 10);
  return { machine: `${cores} cores (${cpu}), commit ${commit}`, date };
}
