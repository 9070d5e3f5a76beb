import { describe, expect, test } from "bun:test";
import { newRequestId, requestIdFrom } from "../../../src/common/ids.ts";

describe("newRequestId()", () => {
  test("never repeats and sorts by time", () => {
    const ids = Array.from({ length: 10_000 }, newRequestId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.toSorted()).toEqual(ids);
  });
});

describe("requestIdFrom()", () => {
  test("keeps harmless ids of up to 128 characters", () => {
    for (const id of ["a", "4bf92f35-77b3.4da6", "x".repeat(128), "k8s/pod:7@host+1=2"]) {
      expect(requestIdFrom(id)).toBe(id);
    }
  });

  test("replaces everything else", () => {
    for (const id of [
      null,
      "",
      "x".repeat(129),
      "a b",
      "a\r\nb",
      "<b>",
      "$(id)",
      "a,b",
      "\u0000",
    ]) {
      expect(requestIdFrom(id)).toMatch(/^[0-9a-f-]{36}$/);
    }
  });
});
