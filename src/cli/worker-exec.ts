/** `ol worker-exec`: one worker in the foreground; `ol workers` starts these in the background. */

import { resolve } from "node:path";
import { defineCommand } from "citty";
import { claimWorkerDir } from "../cluster/claim.ts";
import { checkConfigPaths, readConfigJson } from "../config/load.ts";
import { parseConfig } from "../config/parse.ts";

export default defineCommand({
  meta: {
    description:
      "Runs one worker in the foreground, its log on stdout; ctrl-C or SIGTERM lets calls in flight\n" +
      "end and stops it.",
  },
  args: {
    config: {
      type: "string",
      alias: "c",
      required: true,
      valueHint: "FILE",
      description: "The worker's configuration file",
    },
    "log-file": {
      type: "string",
      valueHint: "FILE",
      description: "Log to this file and keep it bounded; default: stdout",
    },
    successor: {
      type: "boolean",
      description: "Share the port with the worker that has it, which is then to retire (SIGUSR2)",
    },
  },
  async run({ args }): Promise<number> {
    const path = resolve(args.config);
    const config = parseConfig(readConfigJson(path), path);
    checkConfigPaths(config, path);
    const claim = claimWorkerDir(config.workerDir);
    try {
      const { runWorker } = await import("../worker/main.ts");
      const logFile = args["log-file"];
      return await runWorker(path, config, {
        logFile: logFile === undefined ? null : resolve(logFile),
        isSuccessor: args.successor === true,
      });
    } finally {
      claim.release();
    }
  },
});
