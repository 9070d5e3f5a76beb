/** The VM's second drive: the project as it is now, with the executable, Bun and what tests import. */

import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { makeExt4 } from "./root-image.ts";
import type { VmSuite } from "./suites.ts";

const IMAGE_SIZE_MB = 900;

/** What the suites read. */
const PARTS = [
  "bin",
  "src",
  "tests",
  "bench",
  "quickstart",
  "README.md",
  "package.json",
  "tsconfig.json",
  "bunfig.toml",
];

/** Tools of the style lane: large, and not run in the VM. */
const HOST_ONLY = /^(@?typescript|@?oxlint|@?oxfmt|@?oxc|@?knip|@oven|bun-types|zod|\.bin)/;

/**
 * Writes the drive.
 * @param suites what the VM is to run
 * @param workDir directory for the tree and the image
 * @returns path of the image
 */
export function makeProjectImage(suites: readonly VmSuite[], workDir: string): string {
  const tree = join(workDir, "project");
  mkdirSync(join(tree, "node_modules"), { recursive: true });
  for (const part of PARTS.filter((name) => existsSync(join(PROJECT_DIR, name)))) {
    cpSync(join(PROJECT_DIR, part), join(tree, part), { recursive: true });
  }
  for (const name of readdirSync(join(PROJECT_DIR, "node_modules"))) {
    if (HOST_ONLY.test(name)) continue;
    const from = join(PROJECT_DIR, "node_modules", name);
    cpSync(from, join(tree, "node_modules", name), { recursive: true });
  }
  const rows = suites.map(({ name, timeoutSec, paths, pattern = "" }) =>
    [name, timeoutSec, paths.map((path) => `./${path}`).join(" "), pattern].join("\t"),
  );
  writeFileSync(join(tree, "suites.tsv"), `${rows.join("\n")}\n`);
  const image = join(workDir, "project.img");
  makeExt4(tree, image, IMAGE_SIZE_MB);
  return image;
}
