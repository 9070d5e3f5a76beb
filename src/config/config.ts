/** The settings of one worker after validation: the file's keys (`schema.ts`) in units and names of the code. */

/** Bounds as the engines take them; see `SandboxLimits` in `sandbox/contract.ts`, which has the same shape. */
export interface LimitsConfig {
  readonly memoryMaxBytes: number;
  readonly processesMax: number;
  readonly cpuPercent: number;
  readonly runtimeMs: number;
  readonly scratchMaxBytes: number;
}

/** Where lambda code comes from. */
export type RegistryConfig =
  | { readonly kind: "local"; readonly dir: string; readonly cacheMs: number }
  | {
      readonly kind: "remote";
      /** S3 endpoint as a URL. */
      readonly server: string;
      readonly accessKey: string;
      readonly secretKey: string;
      readonly cacheMs: number;
    };

/** Everything a worker needs to know; deeply frozen, handed down by constructor, never global. */
export interface Config {
  readonly clusterName: string;
  readonly workerPort: number;
  readonly bind: string;
  /** Absolute: `<cluster>/workers/worker-<N>`. */
  readonly workerDir: string;
  readonly registry: RegistryConfig;
  readonly sandbox: "sock" | "docker";
  /** Absolute path of the base (`sock_base_path`). */
  readonly basePath: string;
  /** Absolute path of the packages dir (`Pkgs_dir`). */
  readonly packagesDir: string;
  readonly pipMirror: string | null;
  /** Requirements to install and pre-import at start (`startup_pkgs`). */
  readonly startupPackages: readonly string[];
  /** Concurrent calls per sandbox (`max_runners`). */
  readonly maxRunners: number;
  /** 0 switches the cache off. */
  readonly handlerCacheBytes: number;
  /** 0 switches the cache off. */
  readonly importCacheBytes: number;
  /** Ready-made cgroups kept in stock (`cg_pool_size`). */
  readonly cgroupPoolSize: number;
  /** Environment of every lambda (`sandbox_config`). */
  readonly sandboxEnv: Readonly<Record<string, string>>;
  /** Log the stages of each call (`timing`). */
  readonly timing: boolean;
  /** File that gets one JSON line per call (`benchmark_log`), or null. */
  readonly benchmarkLog: string | null;
  readonly memoryPoolBytes: number;
  readonly limits: LimitsConfig;
  readonly installerLimits: LimitsConfig;
  /** Calls that may wait, per worker. */
  readonly queueMax: number;
  readonly bodyMaxBytes: number;
  readonly network: "host" | "none";
  readonly docker: {
    /** Docker socket, such as `/var/run/docker.sock`. */
    readonly socket: string;
    /** Image for sandboxes; null: one is imported from the base. */
    readonly baseImage: string | null;
    /** OCI runtime other than the daemon's default, such as `runsc`; null: default. */
    readonly runtime: string | null;
  };
}
