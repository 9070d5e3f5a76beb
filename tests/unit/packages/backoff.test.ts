import { expect, test } from "bun:test";
import { Backoff } from "../../../src/packages/backoff.ts";

const clock = { us: 0, nowUs: () => clock.us, wallMs: () => 0 };
const open = () => new Backoff<string>(clock, { firstMs: 100, maxMs: 350, entriesMax: 2 });

test("Backoff doubles its pauses up to the longest, and forgets after a success", () => {
  const backoff = open();
  expect([1, 2, 3, 4].map(() => backoff.failed("a", "why"))).toEqual([100, 200, 350, 350]);
  expect(backoff.blocked("a")).toEqual({ reason: "why", retryInMs: 350 });
  clock.us += 350_000;
  expect(backoff.blocked("a")).toBeNull();
  backoff.succeeded("a");
  expect(backoff.failed("a", "again")).toBe(100);
});

test("Backoff remembers a bounded number, the latest", () => {
  const backoff = open();
  for (const key of ["a", "b", "c"]) backoff.failed(key, key);
  expect(backoff.blocked("a")).toBeNull();
  expect(backoff.blocked("c")?.reason).toBe("c");
});
