/** What `status` and `kill` need to know of a cluster's Docker side; loads no Docker client. */

import { existsSync } from "node:fs";
import type { ClusterPaths } from "../cluster/paths.ts";
import { listWorkers } from "../cluster/open.ts";
import { readConfigJson } from "../config/load.ts";
import { fillDefaults, validateConfigFile } from "../config/parse.ts";
import type { ConfigFile } from "../config/schema.ts";

/** A cluster as Docker knows it. */
export interface DockerCluster {
  /** Value of the containers' cluster label. */
  readonly name: string;
  readonly socket: string;
  /** Whether the template or a worker uses the Docker engine. */
  readonly isUsed: boolean;
}

function tryReadFile(path: string): ConfigFile | null {
  try {
    return fillDefaults(validateConfigFile(readConfigJson(path), path));
  } catch {
    // A broken file is reported by what starts from it; here the others still count.
    return null;
  }
}

/**
 * @param paths of a cluster
 * @returns its Docker side, or null where its template cannot be read
 */
export function findDockerCluster(paths: ClusterPaths): DockerCluster | null {
  const template = tryReadFile(paths.template);
  const socket = template?.docker?.socket;
  const name = template?.cluster_name;
  if (template === null || socket === undefined || name === undefined) return null;
  const workerFiles = listWorkers(paths)
    .filter((worker) => existsSync(worker.config))
    .map((worker) => tryReadFile(worker.config));
  const isUsed = [template, ...workerFiles].some((file) => file?.sandbox === "docker");
  return { name, socket, isUsed };
}
