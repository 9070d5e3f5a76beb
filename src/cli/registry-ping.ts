/** Whether the cluster's own handler store answers; part of `ol status`. */

import { join } from "node:path";
import type { ClusterPaths } from "../cluster/paths.ts";
import { readPidFile } from "../cluster/pid-file.ts";
import { PING_TIMEOUT_MS } from "../common/limits.ts";
import { readConfigJson } from "../config/load.ts";
import {
  HEALTH_PATH,
  parseStoreSettings,
  STORE_SETTINGS_FILE,
} from "../registry/store/settings.ts";
import { findStoreProcesses } from "./store-process.ts";
import { describeFetchError, shownUrl, workerUrl } from "./worker-client.ts";

/** The store of a cluster, as `ol status` shows it. */
export interface RegistryReport {
  readonly url: string;
  readonly ok: boolean;
  /** `ready [200 OK]`, or why not. */
  readonly answer: string;
}

/**
 * @param paths of a cluster
 * @returns its store, or null where none was started
 */
export async function pingRegistry(paths: ClusterPaths): Promise<RegistryReport | null> {
  const isRunning = findStoreProcesses(paths).length > 0;
  if (!isRunning && readPidFile(paths.store.pid).kind === "absent") return null;
  let url = "registry";
  try {
    const path = join(paths.configDir, STORE_SETTINGS_FILE);
    const address = parseStoreSettings(readConfigJson(path), path);
    url = `${shownUrl(address)}${HEALTH_PATH}`;
    const response = await fetch(`${workerUrl(address)}${HEALTH_PATH}`, {
      signal: AbortSignal.timeout(PING_TIMEOUT_MS),
      keepalive: false,
    });
    const text = (await response.text()).trim().slice(0, 40);
    const ok = response.status === 200 && isRunning;
    return { url, ok, answer: `${text} [${response.status}${response.ok ? " OK" : ""}]` };
  } catch (error) {
    const gone = isRunning ? "" : `, its process is gone, see ${paths.store.log}`;
    return { url, ok: false, answer: `${describeFetchError(error, PING_TIMEOUT_MS)}${gone}` };
  }
}
