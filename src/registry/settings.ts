/** The registry that a cluster's template names, for commands that work without a worker. */

import type { RegistryConfig } from "../config/config.ts";
import { fillDefaults } from "../config/parse.ts";
import type { ConfigFile } from "../config/schema.ts";
import { OlError } from "../common/errors.ts";

/** Keys given on the command line, in place of those of the template. */
export interface KeyOverrides {
  readonly accessKey?: string | undefined;
  readonly secretKey?: string | undefined;
}

/**
 * @param template a valid configuration file
 * @param origin what a message calls it
 * @param keys in place of the file's
 * @returns which registry it names
 * @throws {OlError} config_invalid where a setting that is needed is missing
 */
export function registryConfigOf(
  template: ConfigFile,
  origin: string,
  keys: KeyOverrides = {},
): RegistryConfig {
  const file = fillDefaults(template);
  const required = (key: keyof ConfigFile, value: string | undefined): string => {
    if (value !== undefined && value !== "") return value;
    throw new OlError("config_invalid", `Cannot use ${origin}: "${key}" is missing`, {
      op: "registry.settings",
    });
  };
  const cacheMs = file.registry_cache_ms ?? 0;
  if (file.registry !== "remote") {
    return { kind: "local", dir: required("registry_dir", file.registry_dir), cacheMs };
  }
  return {
    kind: "remote",
    server: required("registry_server", file.registry_server),
    accessKey: required("registry_access_key", keys.accessKey ?? file.registry_access_key),
    secretKey: required("registry_secret_key", keys.secretKey ?? file.registry_secret_key),
    cacheMs,
  };
}
