/** What one lambda leaves behind for another, and what it can make the worker touch: nothing. */

import { afterAll, beforeAll } from "bun:test";

import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { testScenarios } from "./attempts.ts";
import { NEIGHBOURS } from "./neighbour-attempts.ts";

let worker: TestWorker;
let temp: TempDir;

beforeAll(async () => {
  temp = tempDir("ol-escape-");
  worker = await startWorker({ registry_cache_ms: 50 });
});
afterAll(async () => {
  temp.remove();
  await worker.stop();
});

testScenarios("neighbours", () => ({ worker, dir: temp.path }), NEIGHBOURS);
