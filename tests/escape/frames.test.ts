/** A lambda that speaks on its own socket to the worker: only its own calls suffer. */

import { afterAll, beforeAll } from "bun:test";

import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { testScenarios } from "./attempts.ts";
import { FRAMES, startNeighbour } from "./frame-attempts.ts";

let worker: TestWorker;

beforeAll(async () => {
  worker = await startWorker();
  await startNeighbour(worker);
});
afterAll(() => worker.stop());

testScenarios("a lambda that sends on its own socket", () => ({ worker }), FRAMES);
