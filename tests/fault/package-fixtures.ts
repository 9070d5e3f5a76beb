/** Small packages on an engine's packages dir, without pip: one module each, benign or hostile. */

import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { ImportUnit, InstalledPackages } from "../../src/packages/contract.ts";
import type { PackageDir, SandboxSpec } from "../../src/sandbox/contract.ts";
import type { EngineBench } from "./engine-bench.ts";

/** First lines of a hostile module: `zygote` is the object that serves, None outside of a zygote. */
export const FIND_ZYGOTE = `
import os, sys, time, threading
frame, zygote = sys._getframe(), None
while frame is not None and zygote is None:
    candidate = frame.f_locals.get("self")
    if hasattr(candidate, "taken_ids"):
        zygote = candidate
    frame = frame.f_back
`;

/**
 * Writes a distribution with one module.
 * @param bench whose packages dir
 * @param name of both
 * @param source of the module
 * @returns what goes on `sys.path`
 */
export function addPackage(bench: EngineBench, name: string, source: string): PackageDir {
  const packages = join(bench.clusterDir, "packages");
  chmodSync(packages, 0o755);
  mkdirSync(join(packages, name), { mode: 0o755 });
  writeFileSync(join(packages, name, `${name}.py`), source, { mode: 0o644 });
  return { dir: name, modules: [name] };
}

/**
 * @param names of distributions that need no other
 * @returns them as the install cache would give them
 */
export function installed(...names: readonly string[]): InstalledPackages {
  const sorted = names.toSorted();
  const units: ImportUnit[] = sorted.map((name) => ({
    module: name,
    dirs: [name],
    declared: true,
    standard: true,
  }));
  return {
    dirs: sorted.map((name) => ({ dir: name, modules: [name] })),
    imports: sorted,
    units,
  };
}

/**
 * Adds a lambda.
 * @param bench where it is to run
 * @param name its name and directory
 * @param code of `lambda_func.py`
 * @returns what of a sandbox's spec names it
 */
export function addCode(
  bench: EngineBench,
  name: string,
  code: string,
): Pick<SandboxSpec, "lambdaName" | "codeDir" | "codeId"> {
  const codeDir = `${bench.codeDir}-${name}`;
  mkdirSync(codeDir, { mode: 0o755 });
  writeFileSync(join(codeDir, "lambda_func.py"), code, { mode: 0o644 });
  return { lambdaName: name, codeDir, codeId: `${name}-1` };
}
