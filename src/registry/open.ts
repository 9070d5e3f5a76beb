/** Which registry a configuration means. */

import type { RegistryConfig } from "../config/config.ts";
import type { Registry, RegistryWriter } from "./contract.ts";
import { DirectoryRegistry } from "./directory.ts";
import { S3Registry } from "./s3-registry.ts";

/**
 * @param config section `registry` of a worker's configuration
 * @returns the registry; nothing is read or contacted yet
 * @throws {OlError} config_invalid where the address of the store is none
 */
export function openRegistry(config: RegistryConfig): Registry & RegistryWriter {
  return config.kind === "local"
    ? new DirectoryRegistry(config.dir)
    : new S3Registry(config.server, config, { cacheMs: config.cacheMs });
}
