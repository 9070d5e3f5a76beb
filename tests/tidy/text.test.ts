/** What must not stand in any file of the project, and how large files may be. */

import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { projectFiles, type SourceFile } from "./files.ts";

const FILES = projectFiles();
const CODE = FILES.filter(({ path }) => /\.(ts|py)$/.test(path));
const SOURCE = CODE.filter(({ path }) => path.startsWith("src/"));

/** The formatter wraps code at 100 columns and leaves comments as they are. */
const COMMENT_MAX_COLUMNS = 120;

const FILE_MAX_LINES = 500;
const FILE_P90_MAX_LINES = 300;
const FILE_MEDIAN_MAX_LINES = 120;

/** Hosts that a link may point to: this machine, names that cannot exist, manuals, upstream sources. */
const LINK_HOSTS = [
  /^(localhost|127\.0\.0\.1|0\.0\.0\.0|169\.254\.169\.254|10\.\d+\.\d+\.\d+|\[[\da-f:]+\])$/,
  /^\w{1,2}$|(^|\.)(example\.(com|org|net)|test|invalid|localhost|example)$/,
  /^(man7\.org|www\.kernel\.org|docs\.kernel\.org|lwn\.net|git\.kernel\.org|systemd\.io)$/,
  /^(github\.com|bun\.(com|sh)|docs\.python\.org|peps\.python\.org|packaging\.python\.org)$/,
  /^(deb\.debian\.org|www\.debian\.org|docs\.docker\.com|pip\.pypa\.io|www\.sqlite\.org)$/,
  /^(docs\.aws\.amazon\.com|([\w-]+\.)*s3([.-][\w-]+)?\.amazonaws\.com|www\.apache\.org)$/,
  /^(www\.usenix\.org|www\.rfc-editor\.org|www\.w3\.org|json-schema\.org|en\.wikipedia\.org)$/,
  /^prng\.di\.unimi\.it$/,
];

/** Lines that match, as `path:line: text`. */
function linesMatching(files: readonly SourceFile[], wrong: (line: string) => boolean): string[] {
  return files.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) => (wrong(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

/** The value below which a share of the sorted values lies. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

describe("text of the project", () => {
  test("the scan sees the project", () => {
    const paths = FILES.map(({ path }) => path);
    expect(paths).toContain("package.json");
    expect(paths).toContain(".oxlintrc.json");
    expect(paths).toContain(".ci/run");
    expect(SOURCE.length).toBeGreaterThan(10);
  });

  test("no marker of unfinished work without an issue number", () => {
    const marker = /\b(TO(?:)DO|FIX(?:)ME|X{3})\b(?!\(#\d+\))/;
    expect(linesMatching(CODE, (line) => marker.test(line))).toEqual([]);
  });

  test("no path of the machine on which it was written", () => {
    // Short paths such as /src could be meant for something else.
    const isTelling = PROJECT_DIR.split("/").length > 2;
    expect(linesMatching(FILES, (line) => isTelling && line.includes(PROJECT_DIR))).toEqual([]);
    expect(linesMatching(FILES, (line) => /\/home\/\w+\//.test(line))).toEqual([]);
  });

  test("links point to manuals, upstream sources or this machine", () => {
    const isStrange = (line: string): boolean =>
      [...line.matchAll(/\bhttps?:\/\/([^/\s"'`<>()?#,$\\]+)/g)].some(([, authority = ""]) => {
        const host = authority.replace(/^.*@/, "").replace(/:\d*$/, "");
        return /^[\w.[\]:-]+$/.test(host) && !LINK_HOSTS.some((allowed) => allowed.test(host));
      });
    expect(linesMatching(FILES, isStrange)).toEqual([]);
  });

  test("no lint rule is switched off without a reason", () => {
    const isSilent = (line: string): boolean =>
      /(?:oxlint|eslint)-disable/.test(line) && !/-disable\S* [\w/,@ -]+ -- \S/.test(line);
    const found = linesMatching(CODE, (line) => /^\s*(\/\/|\/\*)/.test(line) && isSilent(line));
    expect(found).toEqual([]);
  });

  test("no test is left alone by .only", () => {
    const tests = FILES.filter(({ path }) => path.endsWith(".test.ts"));
    expect(linesMatching(tests, (line) => /^\s*(test|describe|it)\.only\b/.test(line))).toEqual([]);
  });

  test("no comment of the source is wider than 120 columns", () => {
    const isWide = (line: string): boolean =>
      /^\s*(\*|\/\*|\/\/|#)/.test(line) && line.length > COMMENT_MAX_COLUMNS;
    expect(linesMatching(SOURCE, isWide)).toEqual([]);
  });

  test("the top level holds nothing that does not belong there", () => {
    const expected =
      /^(package\.json|bunfig\.toml|tsconfig\.json|src|bench|quickstart|tests|README\.md|bun\.lock|LICENSE|\.gitignore|\.ci|\.oxlintrc\.json|\.oxfmtrc\.json|node_modules|bin|\.cache|\.git)$/;
    expect(readdirSync(PROJECT_DIR).filter((name) => !expected.test(name))).toEqual([]);
  });
});

describe("sizes", () => {
  test("no file is longer than 500 lines", () => {
    const long = CODE.filter(({ lines }) => lines.length > FILE_MAX_LINES + 1);
    expect(long.map(({ path, lines }) => `${path}: ${lines.length}`)).toEqual([]);
  });

  test("files of src/ are small: median at most 120 lines, p90 at most 300", () => {
    // Text that ends with a line feed splits into one part more than it has lines.
    const sizes = SOURCE.map(({ lines }) => lines.length - 1);
    expect(quantile(sizes, 0.5)).toBeLessThanOrEqual(FILE_MEDIAN_MAX_LINES);
    expect(quantile(sizes, 0.9)).toBeLessThanOrEqual(FILE_P90_MAX_LINES);
  });

  test("tests have at least as many lines as the source", () => {
    const count = (prefix: string): number =>
      CODE.filter(({ path }) => path.startsWith(prefix)).reduce(
        (sum, { lines }) => sum + lines.length,
        0,
      );
    const [source, tests] = [count("src/"), count("tests/")];
    process.stdout.write(`lines: src ${source}, tests ${tests}\n`);
    // The ratio is a norm for the whole, not for every moment: half of it is a defect.
    expect(tests / source).toBeGreaterThan(0.5);
  });
});
