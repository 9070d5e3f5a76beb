/** `ol workers`: starts workers in the background and waits until each is ready. */

import { existsSync } from "node:fs";
import { defineCommand } from "citty";
import { claimCommands } from "../cluster/claim.ts";
import { listWorkers, tryFindWorkerProcess } from "../cluster/open.ts";
import type { ClusterPaths, WorkerPaths } from "../cluster/paths.ts";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { PORT_RELEASE_POLL_MS, PORT_RELEASE_TRIES_MAX, WORKERS_MAX } from "../common/limits.ts";
import type { Config } from "../config/config.ts";
import { checkConfigPaths, readConfigJson } from "../config/load.ts";
import {
  defaultMemoryPoolBytes,
  mergeConfig,
  parseConfig,
  validateConfigFile,
} from "../config/parse.ts";
import type { ConfigFile } from "../config/schema.ts";
import { usageError } from "./args.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf, wholeNumberOf } from "./options.ts";
import { print, printJson } from "./output.ts";
import { shownUrl } from "./worker-client.ts";
import {
  type StartingWorker,
  startWorker,
  stopStarted,
  waitUntilReady,
  writeWorkerConfig,
} from "./worker-process.ts";

const PORT_DEFAULT = 8080;
const PORT_MAX = 65_535;
const MIB = 1024 * 1024;

/** A worker that is to be started. */
interface PlannedWorker {
  readonly worker: WorkerPaths;
  readonly file: ConfigFile;
  readonly config: Config;
}

/** The lowest numbers under which no worker runs now. */
function freeWorkers(paths: ClusterPaths, count: number): WorkerPaths[] {
  const running = new Set(
    listWorkers(paths)
      .filter((worker) => tryFindWorkerProcess(worker) !== null)
      .map((worker) => worker.index),
  );
  const free: WorkerPaths[] = [];
  for (let index = 0; free.length < count; index++) {
    if (!running.has(index)) free.push(paths.worker(index));
  }
  return free;
}

function planWorkers(paths: ClusterPaths, count: number, port: number | null): PlannedWorker[] {
  const template = validateConfigFile(readConfigJson(paths.template), paths.template);
  const firstPort = port ?? template.worker_port ?? PORT_DEFAULT;
  if (firstPort + count - 1 > PORT_MAX) {
    throw new OlError(
      "usage",
      `Cannot start ${count} workers from port ${firstPort}: ports end at ${PORT_MAX}`,
    );
  }
  // Each worker would otherwise take most of what is free for itself.
  const poolMb = template.mem_pool_mb ?? Math.floor(defaultMemoryPoolBytes() / MIB / count);
  return freeWorkers(paths, count).map((worker, position) => {
    const special: ConfigFile = {
      worker_port: firstPort + position,
      worker_dir: worker.dir,
      mem_pool_mb: poolMb,
    };
    const file = validateConfigFile(mergeConfig(template, special), paths.template);
    const config = parseConfig(file, paths.template);
    checkConfigPaths(config, paths.template);
    return { worker, file, config };
  });
}

/**
 * Refuses a port that somebody listens on. A worker of the same number that has just been killed may still
 * hold it while its memory is freed; that is waited for.
 */
async function refuseTakenPort({ worker, config }: PlannedWorker): Promise<void> {
  const waits = existsSync(worker.pid) ? PORT_RELEASE_TRIES_MAX : 1;
  for (let tries = 1; ; tries++) {
    try {
      tryPort(config);
      return;
    } catch (error) {
      if (tries >= waits) throw error;
    }
    await Bun.sleep(PORT_RELEASE_POLL_MS);
  }
}

function tryPort({ bind, workerPort }: Config): void {
  try {
    const probe = Bun.listen({ hostname: bind, port: workerPort, socket: { data: () => {} } });
    probe.stop(true);
  } catch (error) {
    const name = errnoNameOf(error) ?? String(error);
    const what =
      name === "EADDRINUSE" ? "another program listens there, choose another with --port" : name;
    throw new OlError("port_taken", `Cannot use "worker_port" ${workerPort} of ${bind}: ${what}`, {
      op: "cli.workers",
      details: { port: workerPort, bind },
      cause: error,
    });
  }
}

/** Starts all or none. */
async function startAll(planned: readonly PlannedWorker[]): Promise<StartingWorker[]> {
  const started: StartingWorker[] = [];
  try {
    for (const plan of planned) {
      writeWorkerConfig(plan.worker, plan.file);
      started.push(startWorker(plan.worker, plan.config));
    }
    await Promise.all(started.map(waitUntilReady));
    return started;
  } catch (error) {
    await Promise.all(started.map(stopStarted));
    throw error;
  }
}

export default defineCommand({
  meta: {
    description:
      "Starts workers in the background on consecutive ports and waits until each is ready.\n" +
      "Where one does not start, none is left running and the end of its log is shown.\n" +
      "With --restart: replaces the workers that run, one after the other, on their ports and with the\n" +
      "settings of the template, without losing a call.",
  },
  args: {
    cluster: CLUSTER_ARG,
    "num-workers": {
      type: "string",
      alias: "n",
      valueHint: "N",
      description: "How many; default: 1",
    },
    port: {
      type: "string",
      alias: "p",
      valueHint: "PORT",
      description: `Port of the first; default: "worker_port" of the template, or ${PORT_DEFAULT}`,
    },
    restart: { type: "boolean", description: "Replace the workers that run" },
    json: JSON_ARG,
  },
  async run({ args }): Promise<void> {
    if (args.restart === true) {
      if (args.port !== undefined || args["num-workers"] !== undefined) {
        throw usageError("Cannot use --restart with --port or --num-workers: it keeps both");
      }
      const cluster = await openClusterOf(args.cluster);
      const claim = await claimCommands(cluster.workers);
      const { restartWorkers } = await import("./restart.ts");
      await restartWorkers(cluster, args.json === true).finally(() => {
        claim.release();
      });
      return;
    }
    const count = wholeNumberOf("num-workers", args["num-workers"] ?? "1", 1, WORKERS_MAX);
    const port = args.port === undefined ? null : wholeNumberOf("port", args.port, 1, PORT_MAX);
    const paths = await openClusterOf(args.cluster);
    // Whoever starts workers at the same time must not be given the same numbers.
    const claim = await claimCommands(paths.workers);
    let started: readonly StartingWorker[];
    try {
      const planned = planWorkers(paths, count, port);
      for (const plan of planned) await refuseTakenPort(plan);
      started = await startAll(planned);
    } finally {
      claim.release();
    }
    const shown = started.map(({ worker, config, process: { identity } }) => ({
      worker: worker.name,
      url: shownUrl({ bind: config.bind, port: config.workerPort }),
      pid: identity.pid,
      log: worker.log,
    }));
    if (args.json) printJson({ workers: shown });
    for (const { worker, url, pid, log } of args.json ? [] : shown) {
      print(`Started ${worker} at ${url} (process ${pid}, log ${log})\n`);
    }
  },
});
