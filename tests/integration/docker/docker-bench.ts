/** One daemon and one base for the tests of the Docker engine. */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBase } from "../../../src/base/base.ts";
import { DockerPool, type DockerPoolOptions } from "../../../src/sandbox/docker/pool.ts";
import { type Daemon, startDockerd } from "../../helpers/dockerd.ts";

/** A daemon, a cluster directory with a base, and pools on it. */
export interface DockerBench {
  readonly daemon: Daemon;
  /** The cluster directory, also the cluster label. */
  readonly cluster: string;
  readonly options: DockerPoolOptions;
  openPool(changes?: Partial<DockerPoolOptions>): Promise<DockerPool>;
  close(): Promise<void>;
}

/** @param spec which base to make */
export async function startDockerBench(spec: string): Promise<DockerBench> {
  const cluster = mkdtempSync(join(tmpdir(), "ol-docker-"));
  const daemon = await startDockerd();
  const workerDir = join(cluster, "workers/worker-0");
  mkdirSync(join(workerDir, "handlers"), { recursive: true });
  mkdirSync(join(cluster, "packages"), { mode: 0o755 });
  const basePath = join(cluster, "base");
  await createBase({ spec, dir: basePath, docker: { socket: daemon.socket } });
  const options: DockerPoolOptions = {
    socket: daemon.socket,
    cluster,
    workerDir,
    slot: 0,
    basePath,
    packagesDir: join(cluster, "packages"),
    baseImage: null,
    runtime: null,
    importCacheBytes: 0,
  };
  return {
    daemon,
    cluster,
    options,
    openPool: (changes) => DockerPool.open({ ...options, ...changes }),
    close: async () => {
      await daemon.close();
      rmSync(cluster, { recursive: true, force: true });
    },
  };
}
