/** Bytes from the network: HTTP to a running worker; what goes to the handler store is beside. */

import * as fc from "fast-check";

import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { demand, exchange, httpPath, method, statusOf } from "./exchange.ts";
import { type StoreTargets, storeTargets } from "./store-targets.ts";
import { type Target, target } from "./target.ts";

const header = fc.constantFrom(
  "content-length: 3",
  "content-length: -1",
  "content-length: 99999999999999999999",
  "transfer-encoding: chunked",
  "expect: 100-continue",
  "x-request-id: \u00fc",
  "host: a/b",
  "connection: close",
  "content-encoding: gzip",
);

/** Whatever is asked, the worker answers with a status that is the caller's fault, and lives. */
function workerPaths(worker: TestWorker): Target {
  const property = fc.asyncProperty(
    method,
    httpPath,
    fc.array(header, { maxLength: 3 }),
    fc.string({ maxLength: 20 }),
    async (verb, path, headers, body) => {
      const lines = [
        `${verb} ${path} HTTP/1.1`,
        "host: localhost",
        "connection: close",
        ...headers,
      ];
      const request = Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`, "latin1");
      const answer = await exchange(worker.port, request);
      const status = statusOf(answer);
      // Silence (0) is an answer to a request that never ends.
      // 505: the runtime's parser takes what follows a blank or a NUL for the version.
      demand(status < 500 || status === 505, `${status}: ${answer.slice(0, 300)}`);
      demand(!answer.includes(worker.cluster), "the answer shows a path of the host");
      const next = await worker.call("echo", 1);
      demand(next.status === 200 && next.text === "1", `the next call got ${next.status}`);
    },
  );
  return target("http", 20, property);
}

/** The targets and what they run against. */
export interface NetworkTargets {
  readonly targets: readonly Target[];
  close(): Promise<void>;
}

/** Starts a worker and a store. */
export async function networkTargets(): Promise<NetworkTargets> {
  const worker = await startWorker({ limits: { mem_mb: 64 } });
  let store: StoreTargets | null = null;
  const close = async (): Promise<void> => {
    await store?.close();
    await worker.stop();
  };
  try {
    worker.lambda("echo", "def handler(event):\n    return event\n");
    store = await storeTargets();
    return { targets: [workerPaths(worker), ...store.targets], close };
  } catch (error) {
    await close();
    throw error;
  }
}
