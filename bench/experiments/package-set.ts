/** Real packages that experiments use, and one place where they are installed for a run. */

import { mkdirSync } from "node:fs";

import type { Cluster, ConfigOverrides } from "../harness/cluster.ts";
import { tryCommand } from "../harness/command.ts";
import type { BenchContext } from "../harness/experiment.ts";
import { PackageIndex, slowPackage, type FixturePackage } from "../reference/package-index.ts";
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

/** What six of the promises are about. */
export const PROMISED = ["numpy", "pandas", "requests", "flask", "sqlalchemy", "sklearn"] as const;

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
  "/usr/bin/python3 -m pip install --quiet --no-input --root-user-action=ignore --no-cache-dir --upgrade --target".split(
    " ",
  );

/** Bounds under which real packages import and install. */
export const PACKAGE_CONFIG: ConfigOverrides = {
  limits: { mem_mb: 512, procs: 64 },
  installer_limits: { mem_mb: 2048, runtime_sec: 600 },
};

/** Packages of an experiment and where they come from. */
export interface PackageSource {
  readonly choices: readonly PackageChoice[];
  /** Another one, pure Python and imported in under a millisecond: nobody would cache it. */
  readonly trivial: PackageChoice;
  /** Part of the configuration of every cluster that uses them. */
  readonly config: ConfigOverrides;
  /** Arguments with which pip finds the same. */
  readonly pip: readonly string[];
}

/**
 * @param context of the experiment
 * @param packages made to measure
 * @returns a source that needs no network, open while the experiment runs
 */
export async function fixtures(
  context: BenchContext,
  packages: readonly FixturePackage[],
): Promise<PackageSource> {
  const trivial = slowPackage("ol_bench_trivial", 0);
  const offered = [...packages, trivial];
  const index = context.own(await PackageIndex.start(await context.scratch("wheels"), offered));
  return {
    choices: packages.map(({ module }) => same(module)),
    trivial: same(trivial.module),
    config: { ...PACKAGE_CONFIG, pip_mirror: index.url },
    pip: ["--index-url", index.url],
  };
}

/** Milliseconds that the import of the light fixture takes: well above what a zygote is made for. */
const LIGHT_MS = 20;

/**
 * @param context of the experiment
 * @returns one package that a zygote is worth while for, whatever the machine
 */
export async function lightFixture(context: BenchContext): Promise<PackageSource> {
  return await fixtures(context, [slowPackage("ol_bench_light", LIGHT_MS)]);
}

/**
 * @param context of the experiment
 * @param wanted real packages by scale
 * @returns these, or in the smoke run a fixture: the smoke run must not depend on a network
 */
export async function packagesOf(
  context: BenchContext,
  wanted: Readonly<Record<"full" | "small", readonly PackageChoice[]>>,
): Promise<PackageSource> {
  if (context.scale === "smoke") return await lightFixture(context);
  return { choices: wanted[context.scale], trivial: same("six"), config: PACKAGE_CONFIG, pip: [] };
}

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
 * @param options of pip, such as an index
 * @returns microseconds that pip took, or its words where it failed
 */
export async function pipInstall(
  target: string,
  choices: readonly PackageChoice[],
  options: readonly string[] = [],
): Promise<number | string> {
  mkdirSync(target, { recursive: true });
  const begin = Bun.nanoseconds();
  const { exitCode, stderr } = await tryCommand([
    ...PIP,
    target,
    ...options,
    ...choices.map(({ install }) => install),
  ]);
  return exitCode === 0 ? (Bun.nanoseconds() - begin) / 1000 : stderr.trim().slice(-600);
}
