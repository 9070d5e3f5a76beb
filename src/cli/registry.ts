/** `ol registry`: starts the cluster's S3-compatible handler store in the background. */

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { defineCommand } from "citty";
import { writeFileAtomic } from "../cluster/atomic-file.ts";
import type { ClusterPaths } from "../cluster/paths.ts";
import { readPidFile, removePidFile, writePidFile } from "../cluster/pid-file.ts";
import { type BackgroundProcess, spawnBackground } from "../cluster/spawn.ts";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { DESTROY_TIMEOUT_MS, STORE_READY_TIMEOUT_MS } from "../common/limits.ts";
import { readConfigJson } from "../config/load.ts";
import { mergeConfig, validateConfigFile } from "../config/parse.ts";
import { DEFAULT_BUCKET } from "../registry/s3-address.ts";
import {
  HEALTH_PATH,
  isStoreKey,
  parseStoreSettings,
  STORE_DATA_DIR,
  STORE_SETTINGS_FILE,
  type StoreSettings,
} from "../registry/store/settings.ts";
import { usageError } from "./args.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf, wholeNumberOf } from "./options.ts";
import { print, printJson } from "./output.ts";
import { readLogTail, stopProcess } from "./worker-process.ts";

const PORT_MAX = 65_535;
/** How often a starting store is asked, in milliseconds. */
const READY_POLL_INTERVAL_MS = 5;
/** Random bytes of a generated key: 160 bits for the secret. */
const ACCESS_KEY_BYTES = 10;
const SECRET_KEY_BYTES = 20;

function randomKey(bytes: number): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("hex");
}

function settingsPath(paths: ClusterPaths): string {
  return join(paths.configDir, STORE_SETTINGS_FILE);
}

/** Keys of the last start stay valid where none are given: workers and clients hold them. */
function formerKeys(path: string): Partial<StoreSettings> {
  return existsSync(path) ? parseStoreSettings(readConfigJson(path), path) : {};
}

function keyOf(flag: string, given: string | undefined, former: string | undefined, bytes: number) {
  if (given !== undefined && !isStoreKey(given)) {
    throw usageError(
      `Cannot use --${flag}: 1 to 256 printable characters without spaces are wanted`,
    );
  }
  return given ?? former ?? randomKey(bytes);
}

function refuseRunning(paths: ClusterPaths): void {
  const state = readPidFile(paths.store.pid);
  if (state.kind !== "running") return;
  throw new OlError(
    "worker_start",
    `Cannot start the registry of ${paths.root}: it runs already as process ${state.process.pid}`,
    { op: "cli.registry" },
  );
}

/** Address under which this machine's programs reach the store. */
function localUrl({ bind, port }: StoreSettings): string {
  const anywhere = bind === "0.0.0.0" || bind === "::";
  const host = anywhere ? "127.0.0.1" : bind.includes(":") ? `[${bind}]` : bind;
  return `http://${host}:${port}`;
}

async function waitUntilReady(
  started: BackgroundProcess,
  settings: StoreSettings,
  paths: ClusterPaths,
  logStartBytes: number,
): Promise<void> {
  const url = localUrl(settings);
  let exitCode: number | undefined;
  void started.exited.then((code) => (exitCode = code));
  const deadlineMs = performance.now() + STORE_READY_TIMEOUT_MS;
  let why = `not ready within ${STORE_READY_TIMEOUT_MS / 1000} s`;
  while (performance.now() < deadlineMs) {
    if (exitCode !== undefined) {
      why = `it ended with exit status ${exitCode}`;
      break;
    }
    const answer = await fetch(url + HEALTH_PATH).catch(() => null);
    // Another program may hold the port, and answer for ours, until ours has given up.
    if (answer?.status === 200 && readLogTail(paths.store.log, logStartBytes).includes("ready")) {
      return;
    }
    await Bun.sleep(READY_POLL_INTERVAL_MS);
  }
  await stopProcess(started.identity, DESTROY_TIMEOUT_MS);
  removePidFile(paths.store.pid);
  const tail = readLogTail(paths.store.log, logStartBytes);
  throw new OlError(
    "worker_start",
    `Cannot start the registry at ${url}: ${why}, its log ${paths.store.log} ends with\n${tail}`,
    { op: "cli.registry", details: { log: paths.store.log } },
  );
}

function fillTemplate(paths: ClusterPaths, settings: StoreSettings): void {
  const merged = mergeConfig(readConfigJson(paths.template), {
    registry: "remote",
    registry_server: localUrl(settings),
    registry_access_key: settings.accessKey,
    registry_secret_key: settings.secretKey,
  });
  const valid = validateConfigFile(merged, paths.template);
  writeSecret(paths.template, valid);
}

function writeSecret(path: string, value: unknown): void {
  try {
    writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
  } catch (error) {
    const why = errnoNameOf(error) ?? String(error);
    throw new OlError("cluster_invalid", `Cannot write ${path}: ${why}`, {
      op: "cli.registry",
      cause: error,
    });
  }
}

export default defineCommand({
  meta: {
    description:
      "Starts the cluster's S3-compatible handler store in the background, waits until it is ready and\n" +
      "makes it the registry of workers that are started from now on. Keys that are not given are those\n" +
      "of the last start, or generated; they are in config/template.json.",
  },
  args: {
    cluster: CLUSTER_ARG,
    port: {
      type: "string",
      alias: "p",
      default: "9000",
      valueHint: "PORT",
      description: "Where it listens",
    },
    bind: {
      type: "string",
      default: "127.0.0.1",
      valueHint: "ADDRESS",
      description:
        "Address that it listens on; others than this machine's need 0.0.0.0 or their network's",
    },
    "access-key": { type: "string", valueHint: "KEY", description: "Name of the account" },
    "secret-key": {
      type: "string",
      valueHint: "SECRET",
      description: "Its secret; visible to others in the list of processes while this command runs",
    },
    json: JSON_ARG,
  },
  async run({ args }): Promise<void> {
    const port = wholeNumberOf("port", args.port, 1, PORT_MAX);
    const paths = await openClusterOf(args.cluster);
    refuseRunning(paths);
    const path = settingsPath(paths);
    const former = formerKeys(path);
    const settings: StoreSettings = {
      bind: args.bind,
      port,
      dir: join(paths.registry, STORE_DATA_DIR),
      bucket: DEFAULT_BUCKET,
      accessKey: keyOf("access-key", args["access-key"], former.accessKey, ACCESS_KEY_BYTES),
      secretKey: keyOf("secret-key", args["secret-key"], former.secretKey, SECRET_KEY_BYTES),
    };
    writeSecret(path, settings);
    const logStartBytes = statSync(paths.store.log, { throwIfNoEntry: false })?.size ?? 0;
    const started = spawnBackground({
      argv0: "ol",
      args: ["registry-exec", `--config=${path}`, `--log-file=${paths.store.log}`],
      logFile: paths.store.log,
    });
    writePidFile(paths.store.pid, started.identity);
    await waitUntilReady(started, settings, paths, logStartBytes);
    fillTemplate(paths, settings);
    const url = localUrl(settings);
    const { pid } = started.identity;
    if (args.json) printJson({ url, bucket: settings.bucket, pid, log: paths.store.log });
    else {
      print(`Started the registry at ${url} (process ${pid}, log ${paths.store.log})\n`);
      print(`Its bucket is ${settings.bucket}, its keys are in ${paths.template}\n`);
    }
  },
});
