/** Puts the Docker engine together from a worker's settings. */

import type { Config } from "../config/config.ts";
import { DockerPool } from "../sandbox/docker/pool.ts";
import type { Engine } from "./engine.ts";
import { holdFreeSlot } from "./engine-slot.ts";

/**
 * @param config the worker's settings
 * @returns the engine, ready
 * @throws {OlError} docker_unavailable, engine_unavailable, base_invalid, config_invalid, worker_start
 */
export async function openDockerEngine(config: Config): Promise<Engine> {
  const slot = holdFreeSlot("docker");
  try {
    const pool = await DockerPool.open({
      socket: config.docker.socket,
      cluster: config.clusterName,
      workerDir: config.workerDir,
      slot: slot.index,
      basePath: config.basePath,
      packagesDir: config.packagesDir,
      baseImage: config.docker.baseImage,
      runtime: config.docker.runtime,
      importCacheBytes: config.importCacheBytes,
    });
    let closed: Promise<void> | null = null;
    const close = async (): Promise<void> => {
      await pool.close();
      slot.release();
    };
    return {
      pool,
      runner: pool,
      zygotes: null,
      python: pool.python,
      close: () => (closed ??= close()),
    };
  } catch (error) {
    slot.release();
    throw error;
  }
}
