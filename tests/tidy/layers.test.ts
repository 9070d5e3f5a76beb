/** The tables of layers cannot rot: what they replace is there exactly once, and so is each test that they name. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { occurrences, testsOf } from "../layers/layer.ts";
import { LAYERS } from "../layers/layers.ts";
import { listTests } from "../layers/list-tests.ts";

test("each layer has a name of its own, and words that its test must say", () => {
  const names = LAYERS.map(({ name }) => name);
  expect(LAYERS.filter(({ says }) => says.trim() === "")).toEqual([]);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
});

test("what switches a layer off replaces text that occurs exactly once", () => {
  const wrong = LAYERS.flatMap(({ name, edits }) =>
    edits
      .map(({ file, text }) => [
        file,
        occurrences(readFileSync(join(PROJECT_DIR, file), "utf8"), text),
      ])
      .filter(([, count]) => count !== 1)
      .map(([file, count]) => `${name}: ${count} times in ${file}`),
  );
  expect(wrong).toEqual([]);
});

test("each test that must notice exists exactly once", () => {
  const tests = testsOf(LAYERS);
  const found = listTests([...new Set(tests.map(({ file }) => file))]);
  const missing = tests.filter(
    ({ file, name }) => found.get(file)?.filter((it) => it === name).length !== 1,
  );
  expect(missing).toEqual([]);
});
