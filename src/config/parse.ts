/**
 * From a file's JSON to a frozen `Config`: validation, defaults, units. Units and upstream's key names
 * end here; nothing else in the project reads a `ConfigFile`.
 */

import { readFileSync } from "node:fs";
import { TypeCompiler } from "elysia/type-system";
import { OlError } from "../common/errors.ts";
import type { Config, LimitsConfig, RegistryConfig } from "./config.ts";
import { type SchemaFinding, type SchemaNode, explainFinding } from "./explain.ts";
import { CONFIG_SCHEMA, type ConfigFile } from "./schema.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Findings that one message lists; the rest is counted. */
const FINDINGS_SHOWN_MAX = 3;

/** Share of the memory that is available now that sandboxes get where `mem_pool_mb` is absent. */
const MEMORY_POOL_PERCENT = 80;

/** Smallest pool that is worked out, in bytes; the schema's lower bound of `mem_pool_mb`. */
const MEMORY_POOL_MIN_BYTES = 16 * MIB;

let compiled: ReturnType<typeof TypeCompiler.Compile<typeof CONFIG_SCHEMA>> | undefined;

const invalid = (origin: string, what: string): OlError =>
  new OlError("config_invalid", `Cannot use ${origin}: ${what}`, {
    op: "config.parse",
    details: { origin },
  });

/**
 * Checks keys, types and ranges; a file may leave out everything.
 * @param json decoded JSON
 * @param origin what a message calls it, such as its path
 * @returns the same value with its type
 * @throws {OlError} config_invalid
 */
export function validateConfigFile(json: unknown, origin: string): ConfigFile {
  compiled ??= TypeCompiler.Compile(CONFIG_SCHEMA);
  if (compiled.Check(json)) return json;
  const findings = new Map<string, SchemaFinding>();
  for (const finding of compiled.Errors(json)) {
    // Several rules can refuse one value; the first says enough.
    if (!findings.has(finding.path)) findings.set(finding.path, finding);
  }
  const all = [...findings.values()].map(explainFinding);
  const more = all.length - FINDINGS_SHOWN_MAX;
  const shown = all.slice(0, FINDINGS_SHOWN_MAX).join("; ");
  throw invalid(origin, more > 0 ? `${shown}; and ${more} more` : shown);
}

function withDefaults(node: SchemaNode, value: unknown): unknown {
  if (node.properties === undefined) return value === undefined ? node.default : value;
  const given = (value ?? {}) as Readonly<Record<string, unknown>>;
  const filled: Record<string, unknown> = {};
  for (const [key, property] of Object.entries(node.properties)) {
    const child = withDefaults(property, given[key]);
    if (child !== undefined) filled[key] = child;
  }
  return filled;
}

/**
 * @param file a valid configuration file
 * @returns it with every default filled in; keys without one stay absent
 */
export function fillDefaults(file: ConfigFile): ConfigFile {
  return structuredClone(withDefaults(CONFIG_SCHEMA as SchemaNode, file)) as ConfigFile;
}

/**
 * Merges as RFC 7396 (JSON merge patch) does: objects key by key, everything else is replaced, `null`
 * removes a key, which brings its default back.
 * @param template what is there
 * @param overrides what is to change
 * @returns a new object; not validated, see `validateConfigFile`
 */
export function mergeConfig(template: unknown, overrides: unknown): unknown {
  if (!isObject(overrides)) return overrides;
  const merged: Record<string, unknown> = { ...(isObject(template) ? template : {}) };
  for (const [key, value] of Object.entries(overrides)) {
    if (value === null) delete merged[key];
    else defineOwn(merged, key, isObject(value) ? mergeConfig(merged[key], value) : value);
  }
  return merged;
}

/** Plain assignment to `__proto__` would change the prototype and hide the key from validation. */
function defineOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(target, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * @param meminfo text of `/proc/meminfo`
 * @returns 80 % of the memory that is available, in bytes, at least 16 MiB
 * @see man 5 proc, MemAvailable
 */
export function memoryPoolBytesOf(meminfo: string): number {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1];
  const bytes = (Number(kib ?? 0) * KIB * MEMORY_POOL_PERCENT) / 100;
  return Math.max(MEMORY_POOL_MIN_BYTES, Math.floor(bytes / MIB) * MIB);
}

/** @returns what a worker may use on this machine now, where `mem_pool_mb` does not say it, in bytes */
export function defaultMemoryPoolBytes(): number {
  return memoryPoolBytesOf(readFileSync("/proc/meminfo", "utf8"));
}

type RawLimits = Readonly<
  Record<"mem_mb" | "procs" | "cpu_percent" | "runtime_sec" | "scratch_mb", number>
>;

const limitsFrom = (raw: RawLimits): LimitsConfig => ({
  memoryMaxBytes: raw.mem_mb * MIB,
  processesMax: raw.procs,
  cpuPercent: raw.cpu_percent,
  runtimeMs: Math.round(raw.runtime_sec * 1000),
  scratchMaxBytes: raw.scratch_mb * MIB,
});

function required<K extends keyof ConfigFile>(
  file: ConfigFile,
  key: K,
  origin: string,
): NonNullable<ConfigFile[K]> {
  const value = file[key];
  if (value === undefined || value === null || value === "") {
    const property = (CONFIG_SCHEMA as SchemaNode).properties?.[key];
    throw invalid(origin, `"${key}" is missing (${property?.description ?? "required"})`);
  }
  return value;
}

function registryFrom(file: ConfigFile, origin: string): RegistryConfig {
  const cacheMs = required(file, "registry_cache_ms", origin);
  if (file.registry === "local") {
    return { kind: "local", dir: required(file, "registry_dir", origin), cacheMs };
  }
  const server = required(file, "registry_server", origin).replace(/\/$/, "");
  return {
    kind: "remote",
    // Upstream's MinIO client takes host:port; a URL is what S3 clients of today take.
    server: /^https?:\/\//.test(server) ? server : `http://${server}`,
    accessKey: required(file, "registry_access_key", origin),
    secretKey: required(file, "registry_secret_key", origin),
    cacheMs,
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const child of Object.values(value)) deepFreeze(child);
    Object.freeze(value);
  }
  return value;
}

/** Where a worker's settings may come from beside the file. */
export interface ParseOptions {
  /** Memory of the pool in bytes where `mem_pool_mb` is absent; default: from `/proc/meminfo`. */
  readonly memoryPoolBytes?: number;
}

/**
 * @param json decoded JSON of a worker's file
 * @param origin what a message calls it, such as its path
 * @param options what to use in place of the machine's facts
 * @returns the settings of one worker, deeply frozen
 * @throws {OlError} config_invalid, naming key, value and what is allowed
 */
export function parseConfig(json: unknown, origin: string, options: ParseOptions = {}): Config {
  const file = fillDefaults(validateConfigFile(json, origin));
  const limits = limitsFrom(required(file, "limits", origin) as RawLimits);
  const memoryPoolBytes =
    file.mem_pool_mb === undefined
      ? (options.memoryPoolBytes ?? defaultMemoryPoolBytes())
      : file.mem_pool_mb * MIB;
  if (memoryPoolBytes < limits.memoryMaxBytes) {
    const pool = `"mem_pool_mb" is ${memoryPoolBytes / MIB}`;
    throw invalid(
      origin,
      `${pool}, allowed is at least "limits.mem_mb", which is ${limits.memoryMaxBytes / MIB}`,
    );
  }
  const docker = file.docker ?? {};
  const environment = Object.entries(file.sandbox_config ?? {});
  return deepFreeze({
    clusterName: required(file, "cluster_name", origin),
    workerPort: required(file, "worker_port", origin),
    bind: required(file, "bind", origin),
    workerDir: required(file, "worker_dir", origin),
    registry: registryFrom(file, origin),
    sandbox: required(file, "sandbox", origin),
    basePath: required(file, "sock_base_path", origin),
    packagesDir: required(file, "Pkgs_dir", origin),
    pipMirror: file.pip_mirror || null,
    startupPackages: file.startup_pkgs ?? [],
    maxRunners: required(file, "max_runners", origin),
    handlerCacheBytes: required(file, "handler_cache_size", origin) * KIB,
    importCacheBytes: required(file, "import_cache_size", origin) * KIB,
    cgroupPoolSize: required(file, "cg_pool_size", origin),
    sandboxEnv: Object.fromEntries(environment.map(([key, value]) => [key, String(value)])),
    timing: file.timing ?? false,
    benchmarkLog: file.benchmark_log || null,
    memoryPoolBytes,
    limits,
    installerLimits: limitsFrom(required(file, "installer_limits", origin) as RawLimits),
    queueMax: required(file, "max_queue", origin),
    bodyMaxBytes: required(file, "max_body_mb", origin) * MIB,
    network: required(file, "network", origin),
    docker: {
      socket: docker.socket ?? "/var/run/docker.sock",
      baseImage: docker.base_image || null,
      runtime: docker.runtime || null,
    },
  });
}
