/**
 * What the compiled executable does before any code of ours runs, and cannot be stopped from doing:
 * the reason why background processes are started with a cleaned environment. That it reads nothing
 * of the directory in which it is started is in `tests/e2e/cli.test.ts`.
 */

import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";

import { cleanEnvironment } from "../../../src/cluster/spawn.ts";
import { ol } from "../../helpers/ol.ts";
import { tempDir } from "../../helpers/temp-dir.ts";

describe("bin/ol", () => {
  test("is the whole runtime with BUN_BE_BUN, and itself without", async () => {
    const args = ["-e", 'process.stdout.write("another program")'];
    const env = { BUN_BE_BUN: "1" };
    expect((await ol(args, { env })).stdout).toBe("another program");
    expect(cleanEnvironment(env)).toEqual({});
    const { stdout, exitCode } = await ol(args);
    expect([stdout, exitCode]).toEqual(["", 2]);
  });

  test("runs a file that BUN_OPTIONS preloads, and nothing without", async () => {
    using dir = tempDir();
    const mark = dir.join("mark");
    writeFileSync(
      dir.join("preload.ts"),
      `require("node:fs").writeFileSync(${JSON.stringify(mark)}, "");`,
    );
    const env = { BUN_OPTIONS: `--preload ${dir.join("preload.ts")}` };
    expect(cleanEnvironment(env)).toEqual({});
    expect((await ol(["--version"])).exitCode).toBe(0);
    expect(existsSync(mark)).toBe(false);
    expect((await ol(["--version"], { env })).exitCode).toBe(0);
    expect(existsSync(mark)).toBe(true);
  });
});
