/** Every path of a cluster directory (DESIGN 2.2), so that no other module joins one by hand. */

import { join, resolve } from "node:path";

/** The six directories that make a cluster. */
export const CLUSTER_DIRS = ["base", "config", "logs", "packages", "registry", "workers"] as const;

/** Files and directories of one worker. */
export interface WorkerPaths {
  /** Its number, from 0. */
  readonly index: number;
  /** `worker-<N>`. */
  readonly name: string;
  /** `config/worker-<N>.json`. */
  readonly config: string;
  /** `logs/worker-<N>.out`. */
  readonly log: string;
  /** `logs/worker-<N>.pid`; see `pid-file.ts`. */
  readonly pid: string;
  /** `workers/worker-<N>`, the `worker_dir` of its configuration. */
  readonly dir: string;
  /** `workers/worker-<N>.b`: the one of its successor, while both live and every second time. */
  readonly spareDir: string;
}

/** Paths of one cluster; all absolute. */
export interface ClusterPaths {
  readonly root: string;
  readonly base: string;
  readonly configDir: string;
  /** `config/template.json`. */
  readonly template: string;
  readonly logs: string;
  readonly packages: string;
  readonly registry: string;
  readonly workers: string;
  /** Log and pid file of the cluster's background handler store. */
  readonly store: { readonly log: string; readonly pid: string };
  /** @param index a worker's number, from 0 */
  worker(index: number): WorkerPaths;
}

/**
 * @param dir a cluster directory; need not exist
 * @returns its paths
 */
export function clusterPaths(dir: string): ClusterPaths {
  const root = resolve(dir);
  const configDir = join(root, "config");
  const logs = join(root, "logs");
  const workers = join(root, "workers");
  return {
    root,
    base: join(root, "base"),
    configDir,
    template: join(configDir, "template.json"),
    logs,
    packages: join(root, "packages"),
    registry: join(root, "registry"),
    workers,
    store: { log: join(logs, "registry.out"), pid: join(logs, "registry.pid") },
    worker: (index) => {
      const name = `worker-${index}`;
      return {
        index,
        name,
        config: join(configDir, `${name}.json`),
        log: join(logs, `${name}.out`),
        pid: join(logs, `${name}.pid`),
        dir: join(workers, name),
        spareDir: join(workers, `${name}.b`),
      };
    },
  };
}

/**
 * @param workerDir a worker's directory
 * @returns where the scratch directories of its lambdas are: `<NAME>/<ID>` below it
 */
export function handlersDir(workerDir: string): string {
  return join(workerDir, "handlers");
}
