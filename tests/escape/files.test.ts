/** Attempts on files: those of the host, the roots and mounts of the sandbox, devices. */

import { afterAll, beforeAll, describe } from "bun:test";

import type { TempDir } from "../helpers/temp-dir.ts";
import type { TestWorker } from "../helpers/worker.ts";
import { testAttempts } from "./attempts.ts";
import {
  DEVICES,
  type FilesContext,
  HOST_FILES,
  plantFiles,
  ROOTS,
  WRITES,
} from "./files-attempts.ts";
import { ORIGIN_START_TIMEOUT_MS, ORIGINS, startWorkerFrom } from "./origins.ts";

let worker: TestWorker;
let temp: TempDir;

describe.each([...ORIGINS])("forked from %s", (origin) => {
  beforeAll(async () => {
    worker = await startWorkerFrom(origin, { network: "none" });
    temp = await plantFiles(worker);
  }, ORIGIN_START_TIMEOUT_MS);

  afterAll(async () => {
    temp.remove();
    await worker.stop();
  });

  const context = (): FilesContext => ({ worker, dir: temp.path });

  testAttempts("host files", context, HOST_FILES);
  testAttempts("roots and mounts", context, ROOTS);
  testAttempts("read-only", context, WRITES);
  testAttempts("devices and programs", context, DEVICES);
});
