/** Attempts on the network, with `network: none`; and where `network: host` differs. */

import { afterAll, beforeAll, describe } from "bun:test";

import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { testScenarios } from "./attempts.ts";
import {
  type HostListeners,
  listenOnHost,
  NETWORK_HOST,
  NETWORK_NONE,
} from "./network-attempts.ts";

describe.each([
  ["none", NETWORK_NONE],
  ["host", NETWORK_HOST],
] as const)("network %s", (network, rows) => {
  let worker: TestWorker;
  let host: HostListeners;

  beforeAll(async () => {
    worker = await startWorker({ network });
    host = listenOnHost(`ol-escape-${process.pid}`);
  });
  afterAll(async () => {
    host.close();
    await worker.stop();
  });

  testScenarios("network", () => ({ worker, host }), rows);
});
