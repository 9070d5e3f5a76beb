import { afterEach, describe, expect, test } from "bun:test";
import { clusterDirOf, wholeNumberOf } from "../../../src/cli/options.ts";

const saved = process.env["OL_CLUSTER"];
afterEach(() => {
  if (saved === undefined) delete process.env["OL_CLUSTER"];
  else process.env["OL_CLUSTER"] = saved;
});

describe("clusterDirOf()", () => {
  test("takes the flag, then the environment, else refuses", () => {
    process.env["OL_CLUSTER"] = "/env";
    expect(clusterDirOf("/flag")).toBe("/flag");
    expect(clusterDirOf(undefined)).toBe("/env");
    process.env["OL_CLUSTER"] = "";
    expect(() => clusterDirOf(undefined)).toThrow("OL_CLUSTER is not set");
    expect(() => clusterDirOf("")).toThrow("--cluster=DIR is missing");
  });
});

describe("wholeNumberOf()", () => {
  test("takes decimal digits within the range", () => {
    expect(wholeNumberOf("port", "1", 1, 9)).toBe(1);
    expect(wholeNumberOf("port", "09", 1, 9)).toBe(9);
  });

  test.each([["0"], ["10"], [""], ["-1"], ["1.5"], ["1e0"], ["0x1"], [" 1"], ["99999999999"]])(
    "refuses %j",
    (value) => {
      expect(() => wholeNumberOf("port", value, 1, 9)).toThrow(
        `Cannot use --port=${value}: a whole number from 1 to 9 is expected`,
      );
    },
  );
});
