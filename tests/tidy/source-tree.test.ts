/** What a lint rule cannot see: new folders, dynamic imports, what `init` pulls in, error codes. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import { ERROR_RULES } from "../../src/common/errors.ts";
import { PROJECT_DIR } from "../helpers/paths.ts";
import { projectFiles } from "./files.ts";
import { folderOf, mayImport } from "./ranks.ts";

const SRC = join(PROJECT_DIR, "src");
const FILES = projectFiles().filter(({ path }) => /\.(ts|py)$/.test(path));
const SOURCE = FILES.filter(({ path }) => path.startsWith("src/") && path.endsWith(".ts"));

const transpiler = new Bun.Transpiler({ loader: "ts" });

/** Relative imports of a file, dynamic ones included, as paths below `src/`; type imports are gone. */
function importsOf(path: string, text: string): string[] {
  return transpiler
    .scanImports(text)
    .filter((item) => item.path.startsWith("."))
    .map((item) => relative(SRC, join(dirname(join(PROJECT_DIR, path)), item.path)));
}

/** A file with all that it imports, transitively. */
function closureOf(entry: string, seen = new Set<string>()): Set<string> {
  if (seen.has(entry) || !entry.endsWith(".ts")) return seen;
  seen.add(entry);
  for (const path of importsOf(`src/${entry}`, readFileSync(join(SRC, entry), "utf8"))) {
    closureOf(path, seen);
  }
  return seen;
}

describe("source tree", () => {
  test("every folder of src/ has a rank", () => {
    const folders = readdirSync(SRC, { withFileTypes: true }).filter((entry) =>
      entry.isDirectory(),
    );
    const unranked = folders.filter(({ name }) => folderOf(`${name}/x.ts`) === null);
    expect(unranked.map(({ name }) => name)).toEqual([]);
  });

  test("dynamic imports obey the ranks too", () => {
    const wrong = SOURCE.flatMap(({ path, text }) => {
      const from = folderOf(path.slice("src/".length));
      if (from === null) return [];
      return importsOf(path, text)
        .map((target) => ({ target, to: folderOf(target) }))
        .filter(({ to }) => to !== null && !mayImport(from, to))
        .map(({ target }) => `${path} imports src/${target}`);
    });
    expect(wrong).toEqual([]);
  });

  const init = "sandbox/sock/init.ts";
  test.if(existsSync(join(SRC, init)))("nothing that init imports is asynchronous", () => {
    // Other threads of the process still see the host's namespaces (see init.ts).
    const asynchronous = [...closureOf(init)].filter((path) => {
      const code = transpiler.transformSync(readFileSync(join(SRC, path), "utf8"));
      return /\bawait\b|\basync\b|fs\/promises/.test(code);
    });
    expect(asynchronous).toEqual([]);
  });
});

describe("error codes", () => {
  const codes = Object.keys(ERROR_RULES);
  const mentions = (prefix: string, code: string): boolean =>
    FILES.some(
      ({ path, text }) =>
        path.startsWith(prefix) && path !== "src/common/errors.ts" && text.includes(`"${code}"`),
    );

  test("every code is used by the source", () => {
    expect(codes.filter((code) => !mentions("src/", code))).toEqual([]);
  });

  test("every code is provoked by a test", () => {
    expect(codes.filter((code) => !mentions("tests/", code))).toEqual([]);
  });
});
