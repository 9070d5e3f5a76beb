/** Puts the Docker engine together from a worker's settings. */

import type { Config } from "../config/config.ts";
import { DockerPool } from "../sandbox/docker/pool.ts";
import type { Engine } from "./engine.ts";

/**
 * @param config the worker's settings
 * @returns the engine, ready
 * @throws {OlError} docker_unavailable, engine_unavailable, base_invalid, config_invalid
 */
export async function openDockerEngine(config: Config): Promise<Engine> {
  const pool = await DockerPool.open({
    socket: config.docker.socket,
    cluster: config.clusterName,
    workerDir: config.workerDir,
    port: config.workerPort,
    basePath: config.basePath,
    packagesDir: config.packagesDir,
    baseImage: config.docker.baseImage,
    runtime: config.docker.runtime,
    importCacheBytes: config.importCacheBytes,
  });
  return { pool, runner: pool, zygotes: null, python: pool.python, close: () => pool.close() };
}
