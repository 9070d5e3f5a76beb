/** What a worker needs of its sandbox engine, whichever it is; the only place that names both. */

import type { Logger } from "../common/log.ts";
import type { Config } from "../config/config.ts";
import type { CommandRunner } from "../packages/contract.ts";
import type { SandboxPool } from "../sandbox/contract.ts";
import type { ZygoteHost } from "../zygote/contract.ts";

/** An engine, ready. */
export interface Engine {
  readonly pool: SandboxPool;
  /** Runs pip in isolation. */
  readonly runner: CommandRunner;
  /** Path of the interpreter inside a sandbox. */
  readonly python: string;
  /** Null where sandboxes cannot be forked from each other. */
  readonly zygotes: (ZygoteHost & { onZygoteGone(listener: (id: string) => void): void }) | null;
  /** Destroys every sandbox and gives back what the engine held; idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the engine that the settings name, loading no other.
 * @param config the worker's settings
 * @param log the worker's log
 * @throws {OlError} host_unsupported, base_invalid, sandbox_create, docker_unavailable, config_invalid
 */
export async function openEngine(config: Config, log: Logger): Promise<Engine> {
  if (config.sandbox === "sock") {
    const { openSockEngine } = await import("./sock-engine.ts");
    return await openSockEngine(config, log);
  }
  const { openDockerEngine } = await import("./docker-engine.ts");
  return await openDockerEngine(config);
}
