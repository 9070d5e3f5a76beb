/** The project's own files, for checks that read their text. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";

/** One text file of the project. */
export interface SourceFile {
  /** Path below the project, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

/** Made by tools or by a run, not by us. */
const GENERATED = /^(node_modules|bin|\.cache|\.git|bench\/results)\/|^bun\.lock$|^LICENSE$/;

const TEXT = /\.(ts|py|json|jsonc|toml|md|sh|txt|tsv|html|css|svg)$|^\.[\w.]+$|^\.ci\/run$/;

/** @returns every text file of the project, sorted by path */
export function projectFiles(): SourceFile[] {
  const paths = [...new Bun.Glob("**/*").scanSync({ cwd: PROJECT_DIR, dot: true })];
  return paths
    .filter((path) => !GENERATED.test(path) && TEXT.test(path))
    .toSorted()
    .map((path) => {
      const text = readFileSync(join(PROJECT_DIR, path), "utf8");
      return { path, text, lines: text.split("\n") };
    });
}
