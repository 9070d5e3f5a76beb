/** How bodies are counted: what a worker holds at once is bounded, whatever callers announce. */

import { describe, expect, test } from "bun:test";

import { BODY_SMALL_BYTES } from "../../../src/common/limits.ts";
import { BodyBudget, type BodyRefusal, type HeldBody, readBody } from "../../../src/server/body.ts";

const MAX_BYTES = 10;

/** A request whose body comes in these pieces; with a length where one is given. */
function request(pieces: readonly string[], length?: number): Request {
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      controller.close();
    },
  });
  const headers: Record<string, string> =
    length === undefined ? {} : { "content-length": `${length}` };
  return new Request("http://localhost/run/x", { method: "POST", body, headers });
}

const textOf = (body: HeldBody | BodyRefusal): string =>
  "error" in body ? body.error.code : new TextDecoder().decode(body.bytes);

/** Reads a body for a lambda. */
const read = (
  from: Request,
  budget: BodyBudget,
  lambda = "f",
  maxBytes = MAX_BYTES,
): Promise<HeldBody | BodyRefusal> => readBody(from, { maxBytes, budget }, lambda);

describe("readBody()", () => {
  test("charges what it holds, with and without a length", async () => {
    const budget = new BodyBudget(100);
    const known = await read(request(["abc"], 3), budget);
    const chunked = await read(request(["de", "fg"]), budget);
    expect([textOf(known), textOf(chunked)]).toEqual(["abc", "defg"]);
    expect(budget.heldBytes).toBe(7);
  });

  test("refuses with queue_full what does not fit any more, and charges nothing for it", async () => {
    const budget = new BodyBudget(8);
    expect(budget.tryTake(6, null)).toBe(true);
    expect(textOf(await read(request(["abc"], 3), budget))).toBe("queue_full");
    expect(textOf(await read(request(["ab", "c"]), budget))).toBe("queue_full");
    expect(textOf(await read(request(["ab"], 2), budget))).toBe("ab");
    expect(budget.heldBytes).toBe(8);
  });

  test("charges nothing for what was only announced", async () => {
    const budget = new BodyBudget(8);
    const endless = new ReadableStream<Uint8Array>({});
    void read(
      new Request("http://localhost/", {
        method: "POST",
        body: endless,
        headers: { "content-length": "8" },
      }),
      budget,
    );
    expect(textOf(await read(request(["abcdefgh"], 8), budget))).toBe("abcdefgh");
  });

  test("charges nothing for a body over the limit", async () => {
    const budget = new BodyBudget(100);
    expect(textOf(await read(request(["0123456789a"], 11), budget))).toBe("body_too_large");
    expect(textOf(await read(request(["01234", "56789a"]), budget))).toBe("body_too_large");
    expect(budget.heldBytes).toBe(0);
  });

  test("takes a single body of any size that is allowed", async () => {
    const budget = new BodyBudget(2);
    expect(textOf(await read(request(["abc"], 3), budget))).toBe("abc");
    budget.give(3, null);
    expect(budget.heldBytes).toBe(0);
  });

  test("lets one lambda hold as many bytes as it leaves free, so that others have room", async () => {
    const body = "x".repeat(BODY_SMALL_BYTES + 1);
    const budget = new BodyBudget(8 * body.length);
    const pieces = (): Request => request([body.slice(0, 9), body.slice(9)]);
    const taken: string[] = [];
    const held: HeldBody[] = [];
    for (const lambda of ["f", "f", "f", "f", "f", "g", "g", "g", "h"]) {
      for (const from of [request([body], body.length), pieces()]) {
        const one = await read(from, budget, lambda, body.length);
        if ("error" in one) continue;
        held.push(one);
        taken.push(lambda);
      }
    }
    expect(taken.join("")).toBe("ffffggh");
    for (const one of held) budget.give(one.heldBytes, one.owner);
    expect(budget.heldBytes).toBe(0);
    const again = await Promise.all(
      [1, 2, 3, 4, 5].map(() => read(pieces(), budget, "f", body.length)),
    );
    expect(again.map((one) => "error" in one)).toEqual([false, false, false, false, true]);
  });

  test("takes a single body in pieces up to the bound of all, where nothing else is held", async () => {
    const budget = new BodyBudget(10);
    expect(textOf(await read(request(["0123", "4567", "89"]), budget))).toBe("0123456789");
  });

  test("counts small bodies of a lambda with those of all", async () => {
    const budget = new BodyBudget(8);
    const taken = await Promise.all(
      Array.from({ length: 4 }, () => read(request(["ab"], 2), budget)),
    );
    expect(taken.map(textOf)).toEqual(["ab", "ab", "ab", "ab"]);
  });
});
