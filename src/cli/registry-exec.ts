/** `ol registry-exec`: the handler store in the foreground; `ol registry` starts it in the background. */

import { resolve } from "node:path";
import { defineCommand } from "citty";
import { claimWorkerDir, tryFindClaimOwner, type WorkerClaim } from "../cluster/claim.ts";
import { OlError } from "../common/errors.ts";
import { createLogger } from "../common/log.ts";
import { openLogFile } from "../common/log-file.ts";
import { createLogWriter } from "../common/log-writer.ts";
import { readConfigJson } from "../config/load.ts";
import { parseStoreSettings } from "../registry/store/settings.ts";
import { storeClaim } from "./store-process.ts";

/** Resolves with the first signal that asks the process to end. */
function untilAskedToStop(): Promise<NodeJS.Signals> {
  return new Promise((done) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => done(signal));
    // The terminal it was started from may go away.
    process.on("SIGHUP", () => {});
  });
}

function claimData(dir: string): WorkerClaim {
  const claim = storeClaim(dir);
  try {
    return claimWorkerDir(claim);
  } catch (error) {
    const owner = tryFindClaimOwner(claim);
    if (owner === null) throw error;
    throw new OlError(
      "worker_start",
      `Cannot start a registry on ${dir}: process ${owner.pid} has it, stop that one first`,
      { op: "registry.start", cause: error },
    );
  }
}

export default defineCommand({
  meta: { description: "Runs a cluster's handler store in the foreground.", hidden: true },
  args: {
    config: {
      type: "string",
      alias: "c",
      required: true,
      valueHint: "FILE",
      description: "Settings of the store",
    },
    "log-file": {
      type: "string",
      valueHint: "FILE",
      description: "Log to this file and keep it bounded; default: stdout",
    },
  },
  async run({ args }): Promise<number> {
    const path = resolve(args.config);
    const settings = parseStoreSettings(readConfigJson(path), path);
    const stopping = untilAskedToStop();
    const claim = claimData(settings.dir);
    const logFile = args["log-file"];
    const sink = logFile === undefined ? createLogWriter() : openLogFile(resolve(logFile));
    try {
      const logger = createLogger({ sink });
      const { serveStore } = await import("../registry/store/server.ts");
      const { bind, port, dir, bucket, accessKey, secretKey } = settings;
      const store = await serveStore(
        { dir, buckets: [bucket], credentials: { accessKey, secretKey }, logger },
        { bind, port },
      );
      logger.info("Registry ready", { op: "registry.start", url: store.url });
      const signal = await stopping;
      logger.info("Registry stopping", { op: "registry.stop", signal });
      await store.stop();
      return 0;
    } finally {
      sink.close();
      claim.release();
    }
  },
});
