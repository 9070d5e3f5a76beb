import { afterEach, beforeEach, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";

import { LOG_BATCH_BYTES } from "../../../src/common/limits.ts";
import { NO_TIMING, type RunOutcome } from "../../../src/lambda/contract.ts";
import { openBenchmarkLog } from "../../../src/worker/benchmark-log.ts";
import { type TempDir, tempDir } from "../../helpers/temp-dir.ts";

const TIMING = { ...NO_TIMING, queueUs: 1, installUs: 0, sandboxUs: 2, importUs: 3, handlerUs: 4 };
const OUTCOME: RunOutcome = { start: "warm", timing: TIMING, body: null, error: null };

let temp: TempDir;
let path = "";
beforeEach(() => {
  temp = tempDir();
  path = temp.join("calls.jsonl");
});
afterEach(() => temp.remove());

/** Calls in a file, by their ids. */
function idsIn(file: string): number[] {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return lines.map((line) => Number((JSON.parse(line) as { requestId: string }).requestId));
}

test("openBenchmarkLog() writes each call as a line, for root only", () => {
  const log = openBenchmarkLog(path);
  log.write({ lambda: "f", requestId: "7", outcome: OUTCOME });
  log.close();
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({
    ts: expect.any(Number),
    lambda: "f",
    requestId: "7",
    start: "warm",
    ...TIMING,
    error: null,
  });
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("openBenchmarkLog() keeps the last calls, however many there are", () => {
  const maxBytes = 2 * LOG_BATCH_BYTES;
  const log = openBenchmarkLog(path, maxBytes);
  const calls = 5_000;
  for (let call = 0; call < calls; call++) {
    log.write({ lambda: "f", requestId: String(call), outcome: OUTCOME });
  }
  log.close();
  const names = ["calls.jsonl", "calls.jsonl.1", "calls.jsonl.2"];
  expect(readdirSync(temp.path).toSorted()).toEqual(names);
  for (const name of names) {
    expect(statSync(temp.join(name)).size).toBeLessThanOrEqual(maxBytes + 2 * LOG_BATCH_BYTES);
  }
  const kept = names.toReversed().flatMap((name) => {
    return statSync(temp.join(name)).size === 0 ? [] : idsIn(temp.join(name));
  });
  expect(kept.length).toBeGreaterThan(500);
  expect(kept).toEqual(kept.map((_, index) => calls - kept.length + index));
});
