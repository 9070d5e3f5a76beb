/** The names of all tests of some files, without running any. */

import { readFileSync } from "node:fs";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { tempDir } from "../helpers/temp-dir.ts";

/** No test has this name. */
const NO_TEST = "$^";

const TAG = /<testsuite name="([^"]*)"|<testcase name="([^"]*)"|<\/testsuite>/g;

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  apos: "'",
  quot: '"',
  lt: "<",
  gt: ">",
};

function plain(text: string): string {
  return text.replaceAll(/&(?:#(\d+)|(\w+));/g, (whole, number?: string, word?: string) =>
    number === undefined ? (ENTITIES[word ?? ""] ?? whole) : String.fromCodePoint(Number(number)),
  );
}

/**
 * @param files paths below the project
 * @returns the whole names of their tests, by file; none of a file that cannot be loaded
 */
export function listTests(files: readonly string[]): ReadonlyMap<string, readonly string[]> {
  using temp = tempDir("ol-list-");
  const report = temp.join("tests.xml");
  // With nothing to run, the report is the list of what was left out.
  Bun.spawnSync(
    [process.execPath, "test", "-t", NO_TEST, "--reporter=junit"].concat(
      `--reporter-outfile=${report}`,
      files.map((file) => `./${file}`),
    ),
    { cwd: PROJECT_DIR, stdin: "ignore", stdout: "ignore", stderr: "ignore" },
  );
  const found = new Map<string, string[]>();
  const open: string[] = [];
  for (const [tag, suite, title] of readFileSync(report, "utf8").matchAll(TAG)) {
    if (tag === "</testsuite>") open.pop();
    else if (suite !== undefined) open.push(plain(suite));
    else if (title !== undefined) {
      const [file = "", ...blocks] = open;
      const names = found.get(file) ?? [];
      found.set(file, [...names, [...blocks, plain(title)].join(" ")]);
    }
  }
  return found;
}
