/** Real packages that experiments use, and one place where they are installed for a run. */

import { mkdirSync } from "node:fs";

import type { Cluster, ConfigOverrides } from "../harness/cluster.ts";
import { tryCommand } from "../harness/command.ts";
import type { BenchContext } from "../harness/experiment.ts";
import { importing, type LambdaFiles } from "./lambdas.ts";

/** A package as a lambda names it. */
export interface PackageChoice {
  /** Imported module. */
  readonly module: string;
  /** Distribution on PyPI. */
  readonly install: string;
}

const same = (name: string): PackageChoice => ({ module: name, install: name });

/** Packages whose import is worth caching: the ones that published figures name. */
export const HEAVY: readonly PackageChoice[] = [
  same("numpy"),
  same("pandas"),
  same("requests"),
  same("sqlalchemy"),
  same("flask"),
  same("matplotlib"),
  { module: "sklearn", install: "scikit-learn" },
  same("boto3"),
];

/** Forty packages, most popular first, for the mixed workload. */
export const FORTY: readonly PackageChoice[] = [
  ...["requests", "numpy", "pandas", "flask"].map(same),
  { module: "yaml", install: "pyyaml" },
  ...["sqlalchemy", "jinja2", "click", "pydantic"].map(same),
  { module: "dateutil", install: "python-dateutil" },
  { module: "PIL", install: "pillow" },
  { module: "bs4", install: "beautifulsoup4" },
  ...["lxml", "attrs", "httpx", "aiohttp", "cryptography", "psutil", "rich", "tqdm"].map(same),
  ...["matplotlib", "networkx", "markdown", "pygments", "jsonschema", "msgpack"].map(same),
  ...["redis", "tornado", "marshmallow", "toolz", "sortedcontainers", "simplejson"].map(same),
  ...["werkzeug", "docutils", "tabulate", "orjson", "sympy", "pytz", "idna", "six"].map(same),
];

/** The package of the smoke run: tiny, pure Python, without dependencies. */
export const TINY: PackageChoice = same("six");

/**
 * @param choice of package
 * @returns a lambda that imports it and returns its event
 */
export function lambdaOf(...choices: readonly PackageChoice[]): LambdaFiles {
  return importing(
    choices.map(({ module }) => module),
    choices.map(({ module, install }) => (module === install ? install : `${module}:${install}`)),
  );
}

const PIP =
  "/usr/bin/python3 -m pip install --quiet --no-input --root-user-action=ignore --upgrade --target".split(
    " ",
  );

/** Bounds under which real packages import and install. */
export const PACKAGE_CONFIG: ConfigOverrides = {
  limits: { mem_mb: 512, procs: 64 },
  installer_limits: { mem_mb: 2048, runtime_sec: 600 },
};

/**
 * Calls each package's lambda once, so that all are installed; what cannot be installed here is
 * left out, with the reason recorded.
 * @param context of the experiment
 * @param cluster with a lambda named as the module for each
 * @param choices wanted
 * @returns those that work
 */
export async function installed(
  context: BenchContext,
  cluster: Cluster,
  choices: readonly PackageChoice[],
): Promise<PackageChoice[]> {
  const working: PackageChoice[] = [];
  for (const choice of choices) {
    try {
      await cluster.call(choice.module, null);
      working.push(choice);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      context.recorder.skip(`package ${choice.install}: ${why.slice(0, 600)}`);
    }
  }
  context.log(`${working.length} of ${choices.length} packages are installed`);
  return working;
}

/**
 * Installs packages with pip alone, as a reference.
 * @param target directory to install into
 * @param choices to install
 * @returns microseconds that pip took, or its words where it failed
 */
export async function pipInstall(
  target: string,
  choices: readonly PackageChoice[],
): Promise<number | string> {
  mkdirSync(target, { recursive: true });
  const begin = Bun.nanoseconds();
  const { exitCode, stderr } = await tryCommand([
    ...PIP,
    target,
    ...choices.map(({ install }) => install),
  ]);
  return exitCode === 0 ? (Bun.nanoseconds() - begin) / 1000 : stderr.trim().slice(-600);
}
