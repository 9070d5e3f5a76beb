import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";

import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { runGroup } from "../../lanes/process-group.ts";
import { addTallies, formatTally, readSummary } from "../../lanes/tally.ts";

const summary = (lines: string): string => `x.test.ts:\n(pass) x\n\n${lines}`;

describe("readSummary()", () => {
  test("counts passed, failed, skipped and todo", () => {
    const text = summary(
      " 7 pass\n 3 skip\n 1 todo\n 2 fail\n 9 expect() calls\nRan 13 tests across 1 file. [5ms]\n",
    );
    expect(readSummary(text, 1)).toEqual({
      tally: { passed: 7, failed: 2, skipped: 4 },
      problem: null,
    });
  });

  test("takes the last summary and ignores colours", () => {
    const inner = " 1 pass\n 1 fail\nRan 2 tests across 1 file. [1ms]\n";
    const outer = "\u001B[32m 4 pass\u001B[0m\n 0 fail\nRan 4 tests across 1 file. [5ms]\n";
    expect(readSummary(inner + "\n".repeat(9) + outer, 0).tally).toEqual({
      passed: 4,
      failed: 0,
      skipped: 0,
    });
  });

  test.each([
    ["no summary at all", "some text\n", 0, "no summary"],
    ["no test", " 0 pass\n 0 fail\nRan 0 tests across 1 file. [1ms]\n", 0, "no test ran"],
    ["counts that do not add up", " 1 pass\nRan 3 tests across 1 file. [1ms]\n", 0, "but 3 ran"],
    ["a status that contradicts", " 1 pass\nRan 1 test across 1 file. [1ms]\n", 1, "exit status 1"],
    ["a signal", " 1 pass\nRan 1 test across 1 file. [1ms]\n", null, "by signal"],
  ])("does not believe %s", (_name, text, exitCode, problem) => {
    expect(readSummary(text, exitCode).problem).toContain(problem);
  });
});

describe("bun test through runGroup() and readSummary()", () => {
  const run = async (source: string): ReturnType<typeof runGroup> => {
    using dir = tempDir();
    writeFileSync(dir.join("a.test.ts"), `import { expect, test } from "bun:test";\n${source}\n`);
    return await runGroup({
      argv: [process.execPath, "test", "./a.test.ts"],
      cwd: dir.path,
      timeoutMs: 20_000,
      quiet: true,
    });
  };

  test("reads what bun really prints", async () => {
    const { stderr, exitCode } = await run(
      'test("a", () => {}); test.skip("b", () => {}); test("c", () => { expect(1).toBe(2); });',
    );
    expect(readSummary(stderr, exitCode)).toEqual({
      tally: { passed: 1, failed: 1, skipped: 1 },
      problem: null,
    });
  });

  test("notices a test that ends the whole run with status 0", async () => {
    const { stderr, exitCode } = await run('test("a", () => process.exit(0));');
    expect(exitCode).toBe(0);
    expect(readSummary(stderr, exitCode).problem).toContain("no summary");
  });

  test("counts an error outside of tests as failed", async () => {
    const { stderr, exitCode } = await run(
      'test("a", () => {}); throw new Error("at the top level");',
    );
    expect(readSummary(stderr, exitCode).tally?.failed).toBeGreaterThan(0);
  });
});

test("runGroup() kills the whole group after its time", async () => {
  using dir = tempDir();
  const result = await runGroup({
    argv: ["sh", "-c", `sleep 300 & echo $! > ${dir.join("pid")}; wait`],
    cwd: dir.path,
    timeoutMs: 300,
  });
  expect(result.timedOut).toBe(true);
  const pid = (await Bun.file(dir.join("pid")).text()).trim();
  // A zombie of a reaped parent may stay for a moment until init collects it.
  await waitFor(async () => {
    const stat = Bun.file(`/proc/${pid}/stat`);
    const text = await stat.text().catch(() => null);
    return text === null || text.includes(") Z ");
  }, "the grandchild is dead");
});

test("formatTally() shows skipped tests only where there are any", () => {
  const tally = addTallies(
    { passed: 1, failed: 0, skipped: 0 },
    { passed: 2, failed: 1, skipped: 0 },
  );
  expect(formatTally(tally)).toBe("3 passed, 1 failed");
  expect(formatTally({ ...tally, skipped: 4 })).toBe("3 passed, 1 failed, 4 skipped");
});
