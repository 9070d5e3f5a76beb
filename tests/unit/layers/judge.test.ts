/** What counts as noticed, on real runs of small tests. */

import { expect, test } from "bun:test";

import { tempDir } from "../../helpers/temp-dir.ts";
import { type GroupResult, runGroup } from "../../lanes/process-group.ts";
import { problemOfLayer, problemOfSource } from "../../layers/judge.ts";
import { layer, patternOf } from "../../layers/layer.ts";
import { listTests } from "../../layers/list-tests.ts";

const TESTS = `
import { describe, expect, test } from "bun:test";
describe("a (group)", () => {
  test("passes", () => {});
  test("fails: it's \\"said\\" & <done>", () => expect("heard").toBe("said"));
});
test("ends the run", () => process.exit(0));
`;

const named = (name: string): { file: string; name: string } => ({ file: "small.test.ts", name });
const PASSES = named("a (group) passes");
const FAILS = named(`a (group) fails: it's "said" & <done>`);

async function run(...tests: (typeof PASSES)[]): Promise<GroupResult> {
  using temp = tempDir();
  await Bun.write(temp.join("small.test.ts"), TESTS);
  return await runGroup({
    argv: [process.execPath, "test", "./small.test.ts", "-t", patternOf(tests)],
    cwd: temp.path,
    env: { FORCE_COLOR: "0" },
    timeoutMs: 20_000,
    quiet: true,
  });
}

test("problemOfLayer() takes a test that fails in the expected words, and nothing else", async () => {
  const failed = await run(FAILS);
  expect(problemOfLayer(layer("x", FAILS, 'Received: "heard"'), failed)).toBeNull();
  expect(problemOfLayer(layer("x", FAILS, "other words"), failed)).toContain("did not say");
  expect(problemOfLayer(layer("x", PASSES, ""), await run(PASSES))).not.toBeNull();
  for (const name of ["no such test", "passes", "ends the run"]) {
    expect(problemOfLayer(layer("x", named(name), ""), await run(named(name)))).not.toBeNull();
  }
  expect(problemOfLayer(layer("x", FAILS, ""), { ...failed, timedOut: true })).not.toBeNull();
});

test("problemOfSource() wants every test to run and to pass", async () => {
  expect(problemOfSource(await run(PASSES), 1)).toBeNull();
  expect(problemOfSource(await run(PASSES), 2)).not.toBeNull();
  expect(problemOfSource(await run(PASSES, FAILS), 2)).not.toBeNull();
  expect(problemOfSource(await run(named("no such test")), 1)).not.toBeNull();
});

test("listTests() gives the whole names of tests and runs none", () => {
  const file = "tests/unit/layers/judge.test.ts";
  expect(listTests([file]).get(file)).toContain(
    "listTests() gives the whole names of tests and runs none",
  );
});
