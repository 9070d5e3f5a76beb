/**
 * Compiles `bin/ol` (one file: no source tree, node_modules or Bun needed where it runs) and
 * `bin/admin`, the same file under its second name. Prints nothing but errors and one line at the
 * end; a running worker keeps its old file, because the new ones are renamed into place.
 */

import { linkSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

import { compile, ROOT } from "./compile.ts";

/** Builds both names in a directory of their own, then renames them into `bin/`. */
async function build(): Promise<void> {
  const startedMs = performance.now();
  const binDir = join(ROOT, "bin");
  mkdirSync(binDir, { recursive: true });
  const stagingDir = mkdtempSync(join(binDir, ".build-"));
  try {
    const staged = join(stagingDir, "ol");
    await compile(staged);
    linkSync(staged, join(stagingDir, "admin"));
    renameSync(staged, join(binDir, "ol"));
    renameSync(join(stagingDir, "admin"), join(binDir, "admin"));
  } finally {
    rmSync(stagingDir, { recursive: true, force: true });
  }
  const sizeMb = Math.round(statSync(join(binDir, "ol")).size / 1e6);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(`bin/ol and bin/admin: ${sizeMb} MB, ${seconds} s\n`);
}

await build();
