/** What `server-timing` tells of a call: stages that explain its total, and which cache served it. */

import { afterAll, beforeAll, expect, test } from "bun:test";

import { serverTimingUs } from "../../bench/load/answer-parser.ts";
import { type Answer, startWorker, type TestWorker } from "../helpers/worker.ts";

/** Part of a call's total that the stages have to explain, in the median of some calls. */
const EXPLAINED_MIN = 0.85;
const CALLS = 30;

let worker: TestWorker;

beforeAll(async () => {
  worker = await startWorker();
});
afterAll(() => worker.stop());

const timingOf = ({ headers }: Answer): Record<string, number> =>
  serverTimingUs(headers.get("server-timing") ?? "");

/** @returns sums of the stages as parts of their totals, sorted */
function explained(answers: readonly Answer[]): readonly number[] {
  return answers
    .map((answer) => {
      const { total = NaN, ...stages } = timingOf(answer);
      return Object.values(stages).reduce((sum, us) => sum + us, 0) / total;
    })
    .toSorted((a, b) => a - b);
}

async function coldCalls(prefix: string, code: string): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (let index = 0; index < CALLS; index += 1) {
    worker.lambda(`${prefix}${index}`, code);
    answers.push(await worker.call(`${prefix}${index}`));
  }
  return answers;
}

test.each([
  ["a plain lambda", "plain", "def handler(event):\n    return 1\n"],
  [
    "one that imports and computes",
    "slow",
    "import sqlite3, decimal\ndef handler(event):\n    return sum(range(200000))\n",
  ],
])("the stages of a cold call explain its total: %s", async (_, prefix, code) => {
  const answers = await coldCalls(prefix, code);
  expect(answers.every(({ headers }) => headers.get("x-ol-start") === "fresh")).toBe(true);
  const parts = explained(answers);
  expect(parts[0]).toBeGreaterThan(0);
  expect(parts[Math.floor(CALLS / 2)]).toBeGreaterThan(EXPLAINED_MIN);
  // Decimals are rounded one by one.
  expect(parts.at(-1)).toBeLessThan(1.05);
});

test("the stages of a warm call explain its total, which its caller waits for", async () => {
  worker.lambda("warm", "def handler(event):\n    return sum(range(20000))\n");
  await worker.call("warm");
  const answers: Answer[] = [];
  for (let index = 0; index < CALLS; index += 1) {
    const beforeMs = performance.now();
    const answer = await worker.call("warm");
    const waitedUs = (performance.now() - beforeMs) * 1000;
    expect(answer.headers.get("x-ol-start")).toBe("warm");
    expect(timingOf(answer)["total"]).toBeLessThan(waitedUs);
    answers.push(answer);
  }
  const parts = explained(answers);
  expect(parts[Math.floor(CALLS / 2)]).toBeGreaterThan(EXPLAINED_MIN);
  expect(parts.at(-1)).toBeLessThan(1.05);
});

test("a call that fails tells the same", async () => {
  worker.lambda("raises", "def handler(event):\n    raise ValueError(event)\n");
  const answer = await worker.call("raises");
  expect(answer.status).toBe(500);
  const { total = 0, guest = 0, pull = 0 } = timingOf(answer);
  expect(guest).toBeGreaterThan(0);
  expect(total).toBeGreaterThan(guest + pull);
});
