/**
 * Documentation as a checked contract: headers, exported symbols, tags, and the parts of the README
 * that are made from the code.
 */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { projectFiles, type SourceFile } from "./files.ts";

const FILES = projectFiles();
const TYPESCRIPT = FILES.filter(({ path }) =>
  /^(src|bench|quickstart|tests|\.ci)\/.*\.ts$/.test(path),
);
const SOURCE = TYPESCRIPT.filter(({ path }) => path.startsWith("src/"));

/** One exported declaration with the comment above it. */
interface Exported {
  readonly where: string;
  readonly name: string;
  readonly isFunction: boolean;
  /** Parameters as written, empty for anything but a function. */
  readonly parameters: string;
  readonly comment: string;
}

const EXPORT =
  /^export (?:declare |abstract |async )*(function\*?|class|interface|type|const|enum) +(\w+)(?:<[^(]*>)?(?:\(([^]*?)\)(?:: | \{))?/;

/** The doc comment that ends on the line above, or "". */
function commentAbove(lines: readonly string[], index: number): string {
  if (!(lines[index - 1] ?? "").trimEnd().endsWith("*/")) return "";
  const start = lines.slice(0, index).findLastIndex((line) => line.trimStart().startsWith("/**"));
  return start < 0 ? "" : lines.slice(start, index).join("\n");
}

/** Top-level exported declarations; the formatter puts each at the start of a line. */
function exportedOf({ path, lines }: SourceFile): Exported[] {
  return lines.flatMap((line, index) => {
    if (!line.startsWith("export ")) return [];
    const match = EXPORT.exec(lines.slice(index, index + 40).join("\n"));
    if (match === null) return [];
    const [, kind = "", name = "", parameters = ""] = match;
    return [
      {
        where: `${path}:${index + 1} ${name}`,
        name,
        isFunction: kind.startsWith("function"),
        parameters: kind.startsWith("function") ? parameters.trim() : "",
        // A second signature of an overloaded function shares the comment of the first.
        comment: commentAbove(lines, index),
      },
    ];
  });
}

/** Overloads: only the first signature carries the comment. */
function withoutOverloads(exported: readonly Exported[]): Exported[] {
  return exported.filter(
    ({ name, comment }, index) =>
      comment !== "" || !exported.slice(0, index).some((other) => other.name === name),
  );
}

/** The kernel's own constants, under the kernel's names: a comment on each would repeat the manual. */
const KERNEL_CONSTANTS = "src/sys/constants.ts";

const EXPORTED = SOURCE.filter(({ path }) => path !== KERNEL_CONSTANTS).flatMap((file) =>
  withoutOverloads(exportedOf(file)),
);

describe("documentation", () => {
  test("the scan finds exported symbols and their parameters", () => {
    const found = EXPORTED.find(({ name }) => name === "isLambdaName");
    expect(found?.parameters).toBe("name: string");
    expect(found?.comment).toContain("@param name");
  });

  test("every file says why it exists", () => {
    const isHeaded = ({ path, text }: SourceFile): boolean =>
      path.endsWith(".test.ts") || /^(#!.*\n)?(\/\*\*|\/\/)/.test(text);
    expect(TYPESCRIPT.filter((file) => !isHeaded(file)).map(({ path }) => path)).toEqual([]);
  });

  test("every exported symbol of src/ is documented", () => {
    expect(EXPORTED.filter(({ comment }) => comment === "").map(({ where }) => where)).toEqual([]);
  });

  test("every exported function of src/ with parameters documents them", () => {
    const untagged = EXPORTED.filter(
      ({ isFunction, parameters, comment }) =>
        isFunction && parameters !== "" && comment !== "" && !comment.includes("@param"),
    );
    expect(untagged.map(({ where }) => where)).toEqual([]);
  });

  test("every @throws names what is thrown", () => {
    const wrong = SOURCE.flatMap(({ path, lines }) =>
      lines.flatMap((line, index) =>
        /^\s*\*? ?@throws\b/.test(line) && !/@throws \{\w+\} \S/.test(line)
          ? [`${path}:${index + 1}`]
          : [],
      ),
    );
    expect(wrong).toEqual([]);
  });
});

const README = join(PROJECT_DIR, "README.md");

/** Not `describe.if`: a subject that does not exist yet is no skipped test. */
if (existsSync(README))
  describe("README", () => {
    const readme = readFileSync(README, "utf8");

    test("names only files that exist", () => {
      const named = [...readme.matchAll(/`((?:tests|src|bench|quickstart)\/[\w./-]+)`/g)].map(
        ([, path = ""]) => path,
      );
      expect(named.filter((path) => !existsSync(join(PROJECT_DIR, path)))).toEqual([]);
    });

    test("names only scripts that exist", () => {
      const text = readFileSync(join(PROJECT_DIR, "package.json"), "utf8");
      const { scripts } = JSON.parse(text) as { scripts: Record<string, string> };
      const named = [...readme.matchAll(/\b(?:npm|bun) run ([\w:]+)/g)].map(
        ([, name = ""]) => name,
      );
      expect(named.filter((name) => !(name in scripts))).toEqual([]);
    });

    const referencePath = join(PROJECT_DIR, "src/config/reference.ts");
    test("has the configuration reference that the schema renders", async () => {
      const { renderConfigReference } = (await import(referencePath)) as {
        renderConfigReference: () => string;
      };
      expect(readme).toContain(renderConfigReference().trim());
    });
  });
