import { describe, expect, test } from "bun:test";
import { cleanEnvironment } from "../../../src/cluster/spawn.ts";

describe("cleanEnvironment()", () => {
  test("drops what makes the executable run something else, keeps the rest", () => {
    const env = {
      BUN_OPTIONS: "--preload /x.ts",
      BUN_BE_BUN: "1",
      NODE_OPTIONS: "x",
      PATH: "/bin",
    };
    expect(cleanEnvironment(env)).toEqual({ PATH: "/bin" });
    expect(env.BUN_BE_BUN).toBe("1");
  });
});
