import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { editDistance, tryNearest } from "../../../src/config/nearest.ts";

describe("editDistance()", () => {
  test.each([
    ["", "abc", 3],
    ["abc", "abc", 0],
    ["clutser", "cluster", 1],
    ["workrs", "workers", 1],
    ["statsu", "status", 1],
    ["kitten", "sitting", 3],
  ])("of %j and %j is %i", (a, b, expected) => {
    expect(editDistance(a, b)).toBe(expected);
  });

  test("is symmetric, zero only for equal words, and at most the longer length", () => {
    const word = fc.string({ maxLength: 12 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});

describe("tryNearest()", () => {
  const commands = ["new", "workers", "worker-exec", "status", "kill", "setconf", "invoke", "logs"];

  test.each([
    ["worker", "workers"],
    ["wokers", "workers"],
    ["stat", "status"],
    ["KILL", "kill"],
    ["nwe", "new"],
    ["setcnf", "setconf"],
  ])("finds for %j %j", (word, expected) => {
    expect(tryNearest(word, commands)).toBe(expected);
  });

  test.each([["frobnicate"], ["x"], [""], ["x".repeat(1000)]])("finds nothing for %j", (word) => {
    expect(tryNearest(word, commands)).toBeNull();
  });
});
