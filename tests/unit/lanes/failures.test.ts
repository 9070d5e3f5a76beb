import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";

import { tempDir } from "../../helpers/temp-dir.ts";
import { formatFailures, readFailures } from "../../lanes/failures.ts";
import { runGroup } from "../../lanes/process-group.ts";

/** What bun really prints for tests of this source. */
async function outputOf(source: string): Promise<string> {
  using dir = tempDir();
  writeFileSync(dir.join("a.test.ts"), `import { expect, test } from "bun:test";\n${source}\n`);
  const argv = [process.execPath, "test", "./a.test.ts"];
  return (await runGroup({ argv, cwd: dir.path, timeoutMs: 20_000, quiet: true })).stderr;
}

test("readFailures() finds each failed test once, with what it said and where", async () => {
  const many = Array.from({ length: 30 }, (_, i) => `test("p${i}", () => {});`).join("\n");
  const output = await outputOf(
    `${many}
    test("wrong sum", () => { expect(1 + 1).toBe(3); });
    test("between", () => { console.error("not of a failure"); });
    test("broken", () => { throw new Error("out of soup"); });`,
  );
  const [sum, broken, ...others] = readFailures(output);
  expect(others).toEqual([]);
  expect(sum).toContain("Expected: 3");
  expect(sum).toMatch(/a\.test\.ts:\d+:\d+\)[^]*\n\(fail\) wrong sum/);
  expect(broken).toMatch(/^error: out of soup\n/);
  expect(broken).toMatch(/\n\(fail\) broken \[[\d.]+ms\]$/);
});

test("readFailures() keeps the last lines of a failure that says much", () => {
  const lines = Array.from({ length: 100 }, (_, i) => `said ${i}`);
  const [failure] = readFailures(`(pass) a\r\n${lines.join("\r\n")}\r\n(fail) b [1ms]\r\n`);
  expect(failure).toEndWith("said 98\nsaid 99\n(fail) b [1ms]");
  expect(failure?.split("\n").length).toBeLessThan(20);
});

test("readFailures() finds nothing where all passed", async () => {
  expect(readFailures(await outputOf('test("a", () => {});'))).toEqual([]);
});

test("formatFailures() names the lane of each", () => {
  expect(formatFailures("unit", ["one", "two"])).toBe("\n-- unit\none\n\n-- unit\ntwo\n");
  expect(formatFailures("unit", [])).toBe("");
});
