/** One daemon and one base for the tests of the Docker engine. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBase } from "../../../src/base/base.ts";
import type { SandboxSpec } from "../../../src/sandbox/contract.ts";
import { DockerPool, type DockerPoolOptions } from "../../../src/sandbox/docker/pool.ts";
import { type Daemon, startDockerd } from "../../helpers/dockerd.ts";
import { MIB } from "../contract/bench.ts";

/** A daemon, a cluster directory with a base, and pools on it. */
export interface DockerBench {
  readonly daemon: Daemon;
  /** The cluster directory, also the cluster label. */
  readonly cluster: string;
  readonly options: DockerPoolOptions;
  /** What a sandbox of a lambda with this code is made of. */
  specOf(code: string): SandboxSpec;
  openPool(changes?: Partial<DockerPoolOptions>): Promise<DockerPool>;
  close(): Promise<void>;
}

/** Writes a lambda below the cluster. @returns how to make a sandbox of it, with limits that suit tests */
function specOf(cluster: string, code: string): SandboxSpec {
  const codeDir = join(cluster, `code-${Bun.hash(code).toString(16)}`);
  mkdirSync(codeDir, { recursive: true, mode: 0o755 });
  writeFileSync(join(codeDir, "lambda_func.py"), code);
  return {
    lambdaName: "hello",
    codeDir,
    codeId: codeDir,
    packages: [],
    zygoteId: null,
    limits: {
      memoryMaxBytes: 128 * MIB,
      processesMax: 32,
      cpuPercent: 100,
      runtimeMs: 20_000,
      scratchMaxBytes: 64 * MIB,
    },
    network: "none",
    env: {},
    concurrency: 1,
  };
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
    specOf: (code) => specOf(cluster, code),
    openPool: (changes) => DockerPool.open({ ...options, ...changes }),
    close: async () => {
      await daemon.close();
      rmSync(cluster, { recursive: true, force: true });
    },
  };
}
