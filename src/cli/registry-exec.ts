/** `ol registry-exec`: the handler store in the foreground; `ol registry` starts it in the background. */

import { join, resolve } from "node:path";
import { defineCommand } from "citty";
import { claimWorkerDir } from "../cluster/claim.ts";
import { createLogger } from "../common/log.ts";
import { openLogFile } from "../common/log-file.ts";
import { createLogWriter } from "../common/log-writer.ts";
import { readConfigJson } from "../config/load.ts";
import { parseStoreSettings } from "../registry/store/settings.ts";

/** Resolves with the first signal that asks the process to end. */
function untilAskedToStop(): Promise<NodeJS.Signals> {
  return new Promise((done) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => done(signal));
    // The terminal it was started from may go away.
    process.on("SIGHUP", () => {});
  });
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
    const claim = claimWorkerDir(join(settings.dir, "claim"));
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
