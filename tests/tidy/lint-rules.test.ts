/**
 * Each rule of the lint configuration that the design rests on, seen firing: violating files are
 * written into a temporary tree that uses the real configuration, and oxlint must name the rule.
 * A configuration that silently matches nothing would otherwise look like clean code.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { FOLDERS, mayImport } from "./ranks.ts";

const ROOT = join(import.meta.dir, "../..");

/** Two seconds when nothing else runs; other lanes may share the machine. */
const LINT_TIMEOUT_MS = 60_000;

const dir = mkdtempSync(join(tmpdir(), "ol-lint-"));

/** Rules that fired, by file. */
const fired = new Map<string, Set<string>>();

/** Every ordered pair of folders, as the file that makes the import. */
const PAIRS = FOLDERS.flatMap((from) => FOLDERS.map((to) => ({ from, to }))).filter(
  ({ from, to }) => from !== to,
);

const pairFile = (from: string, to: string): string =>
  `src/${from}/pair-${to.replace("/", "-")}.ts`;

const longFunction = (lines: number): string =>
  `export function long(): number {\n${"  Math.random();\n".repeat(lines)}  return 1;\n}\n`;

/** Rule, file that breaks it, text. */
const VIOLATIONS: readonly (readonly [rule: string, file: string, text: string])[] = [
  [
    "no-restricted-imports",
    "src/lambda/ffi.ts",
    'import { dlopen } from "bun:ffi";\ndlopen("x", {});\n',
  ],
  ["no-restricted-imports", "bench/src.ts", 'import { a } from "../src/common/target.ts";\na();\n'],
  [
    "no-restricted-imports",
    "tests/e2e/src.ts",
    'import { a } from "../../src/common/target.ts";\na();\n',
  ],
  ["no-restricted-imports", "src/main.ts", 'import { a } from "./common/target.ts";\na();\n'],
  ["no-console", "src/worker/console.ts", 'console.log("x");\n'],
  [
    "no-async-await",
    "src/sandbox/sock/init.ts",
    "export async function f(): Promise<void> {\n  await g();\n}\n",
  ],
  [
    "no-restricted-imports",
    "src/sandbox/sock/init-a.ts",
    'import { readdir } from "node:fs/promises";\nvoid readdir("/");\n',
  ],
  ["no-restricted-properties", "src/sandbox/sock/init-b.ts", 'export const f = Bun.file("/x");\n'],
  ["no-restricted-properties", "src/sandbox/sock/init-c.ts", 'Bun.spawn(["true"]);\n'],
  ["no-restricted-globals", "src/sandbox/sock/init-d.ts", "setTimeout(() => 0, 1);\n"],
  [
    "no-floating-promises",
    "src/worker/floating.ts",
    "const f = async (): Promise<number> => Promise.resolve(1);\nf();\n",
  ],
  [
    "no-misused-promises",
    "src/worker/misused.ts",
    "const f = async (): Promise<boolean> => Promise.resolve(true);\nif (f()) process.exit(1);\n",
  ],
  [
    "no-cycle",
    "src/worker/cycle-a.ts",
    'import { b } from "./cycle-b.ts";\nexport const a = (): number => b();\n',
  ],
  ["max-lines", "src/worker/lines.ts", "export const x = [\n" + "  1,\n".repeat(500) + "];\n"],
  ["max-lines-per-function", "src/worker/long.ts", longFunction(69)],
  ["no-explicit-any", "src/worker/any.ts", "export const f = (x: any): unknown => x;\n"],
  ["ban-ts-comment", "src/worker/ignore.ts", '// @ts-ignore\nexport const n: number = "x";\n'],
];

/** Files that must pass, so that no rule fires on everything. */
const CLEAN: readonly (readonly [file: string, text: string])[] = [
  ["src/sys/ffi.ts", 'import { dlopen } from "bun:ffi";\ndlopen("x", {});\n'],
  ["src/cli/console.ts", 'console.log("x");\n'],
  ["src/worker/cycle-b.ts", "export const b = (): number => 1;\n"],
  ["src/common/target.ts", "export const a = (): number => 1;\n"],
  ["src/worker/short.ts", longFunction(60)],
];

function write(file: string, text: string): void {
  mkdirSync(dirname(join(dir, file)), { recursive: true });
  writeFileSync(join(dir, file), text);
}

function writeTree(): void {
  for (const name of [".oxlintrc.json", "tsconfig.json", "package.json"]) {
    copyFileSync(join(ROOT, name), join(dir, name));
  }
  symlinkSync(join(ROOT, "node_modules"), join(dir, "node_modules"));
  for (const folder of FOLDERS)
    write(`src/${folder}/target.ts`, "export const a = (): number => 1;\n");
  for (const { from, to } of PAIRS) {
    const up = "../".repeat(from.split("/").length);
    write(pairFile(from, to), `import { a } from "${up}${to}/target.ts";\n\na();\n`);
  }
  for (const [file, text] of CLEAN) write(file, text);
  for (const [, file, text] of VIOLATIONS) write(file, text);
  // The cycle needs both ends; the clean half is replaced by one that closes it.
  write(
    "src/worker/cycle-b.ts",
    'import { a } from "./cycle-a.ts";\nexport const b = (): number => a();\n',
  );
}

interface Report {
  readonly diagnostics: readonly { readonly filename: string; readonly code: string }[];
}

beforeAll(() => {
  writeTree();
  const result = Bun.spawnSync([join(ROOT, "node_modules/.bin/oxlint"), "--format=json"], {
    cwd: dir,
    timeout: LINT_TIMEOUT_MS,
  });
  const report = JSON.parse(result.stdout.toString()) as Report;
  for (const { filename, code } of report.diagnostics) {
    const rule = /\(([^)]*)\)/.exec(code)?.[1] ?? code;
    fired.set(filename, (fired.get(filename) ?? new Set()).add(rule));
  }
}, LINT_TIMEOUT_MS);

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("lint rules", () => {
  test.each(VIOLATIONS.map(([rule, file]) => ({ rule, file })))(
    "$rule fires on $file",
    ({ rule, file }) => {
      expect([...(fired.get(file) ?? [])]).toContain(rule);
    },
  );

  test.each(CLEAN.map(([file]) => file).filter((file) => !file.includes("cycle")))(
    "nothing fires on %s",
    (file) => {
      expect([...(fired.get(file) ?? [])]).toEqual([]);
    },
  );

  test.each(FOLDERS)("src/%s may import exactly what its rank allows", (from) => {
    const refused = PAIRS.filter((pair) => pair.from === from)
      .filter(({ to }) => fired.get(pairFile(from, to))?.has("no-restricted-imports") ?? false)
      .map(({ to }) => to);
    const expected = FOLDERS.filter((to) => to !== from && !mayImport(from, to));
    expect(refused.toSorted()).toEqual(expected.toSorted());
  });
});
