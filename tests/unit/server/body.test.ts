/** How bodies are counted: what a worker holds at once is bounded, whatever callers announce. */

import { describe, expect, test } from "bun:test";

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

describe("readBody()", () => {
  test("charges what it holds, with and without a length", async () => {
    const budget = new BodyBudget(100);
    const known = await readBody(request(["abc"], 3), MAX_BYTES, budget);
    const chunked = await readBody(request(["de", "fg"]), MAX_BYTES, budget);
    expect([textOf(known), textOf(chunked)]).toEqual(["abc", "defg"]);
    expect(budget.heldBytes).toBe(7);
  });

  test("refuses with queue_full what does not fit any more, and charges nothing for it", async () => {
    const budget = new BodyBudget(8);
    expect(budget.tryTake(6)).toBe(true);
    expect(textOf(await readBody(request(["abc"], 3), MAX_BYTES, budget))).toBe("queue_full");
    expect(textOf(await readBody(request(["ab", "c"]), MAX_BYTES, budget))).toBe("queue_full");
    expect(textOf(await readBody(request(["ab"], 2), MAX_BYTES, budget))).toBe("ab");
    expect(budget.heldBytes).toBe(8);
  });

  test("charges nothing for what was only announced", async () => {
    const budget = new BodyBudget(8);
    const endless = new ReadableStream<Uint8Array>({});
    void readBody(
      new Request("http://localhost/", {
        method: "POST",
        body: endless,
        headers: { "content-length": "8" },
      }),
      MAX_BYTES,
      budget,
    );
    expect(textOf(await readBody(request(["abcdefgh"], 8), MAX_BYTES, budget))).toBe("abcdefgh");
  });

  test("charges nothing for a body over the limit", async () => {
    const budget = new BodyBudget(100);
    expect(textOf(await readBody(request(["0123456789a"], 11), MAX_BYTES, budget))).toBe(
      "body_too_large",
    );
    expect(textOf(await readBody(request(["01234", "56789a"]), MAX_BYTES, budget))).toBe(
      "body_too_large",
    );
    expect(budget.heldBytes).toBe(0);
  });

  test("takes a single body of any size that is allowed", async () => {
    const budget = new BodyBudget(2);
    expect(textOf(await readBody(request(["abc"], 3), MAX_BYTES, budget))).toBe("abc");
    budget.give(3);
    expect(budget.heldBytes).toBe(0);
  });
});
