/** `ol registry`: starts the cluster's S3-compatible handler store in the background. */

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { defineCommand } from "citty";
import { writeFileAtomic } from "../cluster/atomic-file.ts";
import type { ClusterPaths } from "../cluster/paths.ts";
import { claimCommands } from "../cluster/claim.ts";
import { writePidFile } from "../cluster/pid-file.ts";
import { type BackgroundProcess, spawnBackground } from "../cluster/spawn.ts";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { DESTROY_TIMEOUT_MS, PING_TIMEOUT_MS, STORE_READY_TIMEOUT_MS } from "../common/limits.ts";
import { readConfigJson } from "../config/load.ts";
import { mergeConfig, validateConfigFile } from "../config/parse.ts";
import { DEFAULT_BUCKET } from "../registry/s3-address.ts";
import {
  HEALTH_PATH,
  isStoreKey,
  parseStoreSettings,
  STORE_SETTINGS_FILE,
  type StoreSettings,
} from "../registry/store/settings.ts";
import { usageError } from "./args.ts";
import { requireFreePort } from "./listen-probe.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf, wholeNumberOf } from "./options.ts";
import { print, printJson } from "./output.ts";
import {
  ACCESS_KEY_ARG,
  type GivenKeys,
  givenKeys,
  SECRET_KEY_ARG,
  SECRET_KEY_HELP,
  withoutKeys,
} from "./secrets.ts";
import { findStoreProcesses, removeStalePidFile, storeDir } from "./store-process.ts";
import { readLogTail, stopProcess } from "./worker-process.ts";

const PORT_MAX = 65_535;
const DEFAULT_PORT = 9000;
const DEFAULT_BIND = "127.0.0.1";
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

/** What the last start had stays valid where nothing else is given: workers and clients hold it. */
function formerSettings(path: string): Partial<StoreSettings> {
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
  const [found] = findStoreProcesses(paths);
  if (found === undefined) return;
  throw new OlError(
    "worker_start",
    `Cannot start the registry of ${paths.root}: it runs already as process ${found.pid}`,
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
    const health = fetch(url + HEALTH_PATH, { signal: AbortSignal.timeout(PING_TIMEOUT_MS) });
    // Another program may hold the port, and answer for ours or be silent, until ours has given up.
    const answer = await Promise.race([health.catch(() => null), started.exited]);
    if (
      typeof answer !== "number" &&
      answer?.status === 200 &&
      readLogTail(paths.store.log, logStartBytes).includes("ready")
    ) {
      return;
    }
    await Bun.sleep(READY_POLL_INTERVAL_MS);
  }
  await stopProcess(started.identity, DESTROY_TIMEOUT_MS);
  removeStalePidFile(paths.store.pid);
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

/** A store that is ready. */
interface Started {
  readonly settings: StoreSettings;
  readonly pid: number;
}

/** What the user gave. */
interface Given extends GivenKeys {
  readonly bind: string | undefined;
  readonly port: number | undefined;
}

/**
 * Of two that start at once the second one waits, and then finds that the store runs, before it has
 * written anything.
 */
async function start(paths: ClusterPaths, given: Given): Promise<Started> {
  const claim = await claimCommands(paths.workers);
  try {
    refuseRunning(paths);
    const path = settingsPath(paths);
    const former = formerSettings(path);
    const settings: StoreSettings = {
      bind: given.bind ?? former.bind ?? DEFAULT_BIND,
      port: given.port ?? former.port ?? DEFAULT_PORT,
      dir: storeDir(paths),
      bucket: DEFAULT_BUCKET,
      accessKey: keyOf("access-key", given.accessKey, former.accessKey, ACCESS_KEY_BYTES),
      secretKey: keyOf("secret-key", given.secretKey, former.secretKey, SECRET_KEY_BYTES),
    };
    requireFreePort(settings.bind, settings.port);
    writeSecret(path, settings);
    const logStartBytes = statSync(paths.store.log, { throwIfNoEntry: false })?.size ?? 0;
    const started = spawnBackground({
      argv0: "ol",
      args: ["registry-exec", `--config=${path}`, `--log-file=${paths.store.log}`],
      logFile: paths.store.log,
      env: withoutKeys(),
    });
    writePidFile(paths.store.pid, started.identity);
    await waitUntilReady(started, settings, paths, logStartBytes);
    fillTemplate(paths, settings);
    return { settings, pid: started.identity.pid };
  } finally {
    claim.release();
  }
}

export default defineCommand({
  meta: {
    description:
      "Starts the cluster's S3-compatible handler store in the background, waits until it is ready and\n" +
      "makes it the registry of workers that are started from now on. Port, address and keys that are\n" +
      "not given are those of the last start; at the first one keys are generated. They are in\n" +
      "config/template.json.",
  },
  args: {
    cluster: CLUSTER_ARG,
    port: {
      type: "string",
      alias: "p",
      valueHint: "PORT",
      description: `Where it listens; at the first start ${DEFAULT_PORT}`,
    },
    bind: {
      type: "string",
      valueHint: "ADDRESS",
      description:
        `Address that it listens on, at the first start ${DEFAULT_BIND}; ` +
        "others than this machine need 0.0.0.0 or their network's",
    },
    "access-key": { ...ACCESS_KEY_ARG, description: "Name of the account; or $OL_ACCESS_KEY" },
    "secret-key": { ...SECRET_KEY_ARG, description: SECRET_KEY_HELP },
    json: JSON_ARG,
  },
  async run({ args }): Promise<void> {
    const port =
      args.port === undefined ? undefined : wholeNumberOf("port", args.port, 1, PORT_MAX);
    const keys = givenKeys(args);
    const paths = await openClusterOf(args.cluster);
    const { settings, pid } = await start(paths, { ...keys, bind: args.bind, port });
    const url = localUrl(settings);
    if (args.json) printJson({ url, bucket: settings.bucket, pid, log: paths.store.log });
    else {
      print(`Started the registry at ${url} (process ${pid}, log ${paths.store.log})\n`);
      print(`Its bucket is ${settings.bucket}, its keys are in ${paths.template}\n`);
    }
  },
});
