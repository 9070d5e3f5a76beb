/** What `upload` refuses before it sends anything. */

import { describe, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkBundle } from "../../../src/registry/validate.ts";
import { bundleOf, TempDir } from "./archives.ts";

async function check(code: string, python?: string | null): Promise<string> {
  using temp = new TempDir();
  const path = join(temp.path, "b.tar.gz");
  writeFileSync(path, bundleOf({ path: "lambda_func.py", body: code }));
  try {
    const { syntaxChecked } = await checkBundle(path, python);
    return syntaxChecked ? "ok" : "unchecked";
  } catch (error) {
    return (error as Error).message;
  }
}

describe("checkBundle()", () => {
  test.each([
    ["def handler(event):\n    return 1\n"],
    ["async def handler(event):\n    return 1\n"],
    ["handler = lambda event: 1\n"],
    ["from other import handler\n"],
    ["from other import *\n"],
    ["import app.main as handler\n"],
    ["try:\n    import x\nexcept ImportError:\n    def handler(event): pass\n"],
    ["# -*- coding: latin-1 -*-\ndef handler(event): return 'x'\n"],
  ])("accepts %j", async (code) => {
    expect(await check(code)).toBe("ok");
  });

  test.each([
    ["def handler(event:\n", /line 1/],
    ["x = 1\n", /no handler\(event\)/],
    ["def other():\n    handler = 1\n", /no handler\(event\)/],
    ["return 1\n", /outside function/],
    ["x = '\0'\n", /null byte/],
    ["", /no handler/],
  ])("refuses %j", async (code, why) => {
    expect(await check(code)).toMatch(why);
  });

  test("runs nothing of the code, and leaves nothing behind", async () => {
    using temp = new TempDir();
    const mark = join(temp.path, "ran");
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith("ol-check-"));
    expect(await check(`open(${JSON.stringify(mark)}, "w")\ndef handler(e): pass\n`)).toBe("ok");
    expect(readdirSync(temp.path)).toEqual([]);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith("ol-check-"))).toEqual(before);
  });

  test("says so where there is no Python to ask", async () => {
    expect(await check("def handler(event:\n", null)).toBe("unchecked");
  });
});
