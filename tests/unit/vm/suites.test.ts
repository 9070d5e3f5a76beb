/** Nothing privileged stays out of the VM unnoticed: each file is in it, or in the list that says why not. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../../helpers/paths.ts";
import { everySuite, IMPOSSIBLE, privilegedFiles, VM_SUITES } from "../../vm/suites.ts";

const FILES = privilegedFiles();

/** What the lane runs of each file: all of it, or the tests that a pattern matches. */
const inLane = (file: string): "whole" | "partly" | "not" => {
  const rows = VM_SUITES.filter(({ paths }) =>
    paths.some((path) => `tests/${file}.test.ts`.startsWith(path)),
  );
  if (rows.length === 0) return "not";
  return rows.some(({ pattern }) => pattern === undefined) ? "whole" : "partly";
};

/** One file that the table of `tests/README.md` names. */
interface Listed {
  readonly name: string;
  readonly why: string;
  /** What it says of `--all`. */
  readonly withAll: string;
}

function listed(): readonly Listed[] {
  const readme = readFileSync(join(PROJECT_DIR, "tests/README.md"), "utf8");
  const table = /\n\| not in the lane \|.*\n\| --- .*\n((?:\|.*\n)+)/.exec(readme)?.[1];
  if (table === undefined) throw new Error("the README has no such table");
  return table
    .trimEnd()
    .split("\n")
    .flatMap((row) => {
      const [, names = "", why = "", withAll = ""] = row.split("|").map((cell) => cell.trim());
      return [...names.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => ({ name, why, withAll }));
    });
}

describe("privileged suites and the VM", () => {
  test("there are some of each kind", () => {
    expect(FILES).toContain("escape/files");
    expect(FILES).toContain("integration/packages/installer");
    expect(FILES.filter((file) => inLane(file) === "whole").length).toBeGreaterThan(10);
    expect(listed().length).toBeGreaterThan(10);
  });

  test("what the lane leaves out, wholly or partly, is in the list, once, with its reason", () => {
    const missing = FILES.filter((file) => inLane(file) !== "whole");
    const names = listed().map(({ name }) => name);
    expect(names.toSorted()).toEqual(missing);
    expect(listed().filter(({ why }) => why.length < 5)).toEqual([]);
  });

  test("the list says of --all what it does", () => {
    for (const { name, withAll } of listed()) {
      expect([name, withAll]).toEqual([name, IMPOSSIBLE[name] === null ? "no" : "yes"]);
    }
  });

  test("rows of the lane name files that exist, and each name is there once", () => {
    for (const suites of [VM_SUITES, everySuite()]) {
      const paths = suites.flatMap((suite) => suite.paths);
      expect(paths.filter((path) => !existsSync(join(PROJECT_DIR, path)))).toEqual([]);
      const names = suites.map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  test("what cannot run there exists, and --all runs all the rest", () => {
    const impossible = Object.keys(IMPOSSIBLE);
    expect(impossible.filter((name) => !FILES.includes(name))).toEqual([]);
    const whole = impossible.filter((name) => IMPOSSIBLE[name] === null);
    const own = everySuite().filter(({ paths }) => paths.some((path) => path.includes("/vm/")));
    expect(everySuite().length - own.length).toBe(FILES.length - whole.length);
  });
});
