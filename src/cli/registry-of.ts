/** The registry that a cluster's template names, and what messages call it. */

import type { ClusterPaths } from "../cluster/paths.ts";
import type { RegistryConfig } from "../config/config.ts";
import { readConfigJson } from "../config/load.ts";
import { validateConfigFile } from "../config/parse.ts";
import type { Registry, RegistryWriter } from "../registry/contract.ts";
import { openRegistry } from "../registry/open.ts";
import { type KeyOverrides, registryConfigOf } from "../registry/settings.ts";

/** A registry of a cluster. */
export interface ClusterRegistry {
  readonly config: RegistryConfig;
  readonly registry: Registry & RegistryWriter;
  /** Its directory or the address of its store. */
  readonly where: string;
}

/**
 * @param paths of a cluster
 * @param keys in place of the template's
 * @returns its registry; nothing is contacted yet
 * @throws {OlError} config_invalid
 */
export function openTemplateRegistry(paths: ClusterPaths, keys?: KeyOverrides): ClusterRegistry {
  const template = validateConfigFile(readConfigJson(paths.template), paths.template);
  const config = registryConfigOf(template, paths.template, keys);
  const where = config.kind === "local" ? config.dir : config.server;
  return { config, registry: openRegistry(config), where };
}
