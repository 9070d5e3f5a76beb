/** Configuration files on disk: reading with a bound, and the paths that a worker's settings name. */

import { closeSync, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { CONFIG_FILE_MAX_BYTES } from "../common/limits.ts";
import type { Config } from "./config.ts";

/**
 * @param path of a JSON file
 * @returns its decoded content, not validated
 * @throws {OlError} config_invalid where it is not there, too large, or not JSON
 */
export function readConfigJson(path: string): unknown {
  const fail = (what: string, cause?: unknown): OlError =>
    new OlError("config_invalid", `Cannot use ${path}: ${what}`, { op: "config.read", cause });
  let text: string;
  try {
    const descriptor = openSync(path, "r");
    try {
      const stat = fstatSync(descriptor);
      if (!stat.isFile()) throw fail("it is not a file, a JSON file was expected");
      if (stat.size > CONFIG_FILE_MAX_BYTES) {
        throw fail(`it has ${stat.size} bytes, allowed are ${CONFIG_FILE_MAX_BYTES}`);
      }
      text = readFileSync(descriptor, "utf8");
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (error instanceof OlError) throw error;
    throw fail(`it cannot be read (${errnoNameOf(error) ?? String(error)})`, error);
  }
  return parseJson(text, path);
}

/**
 * @param text what should be JSON
 * @param origin what a message calls it
 * @returns the decoded value
 * @throws {OlError} config_invalid
 */
export function parseJson(text: string, origin: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new OlError("config_invalid", `Cannot use ${origin}: it is not JSON (${reason})`, {
      op: "config.read",
      cause: error,
    });
  }
}

/**
 * Checks that the directories which a worker reads are there; it does not check what is in them.
 * @param config settings
 * @param origin what a message calls them
 * @throws {OlError} config_invalid, naming key and path
 */
export function checkConfigPaths(config: Config, origin: string): void {
  const directories: [key: string, path: string][] = [
    ["sock_base_path", config.basePath],
    ["Pkgs_dir", config.packagesDir],
  ];
  if (config.registry.kind === "local") directories.push(["registry_dir", config.registry.dir]);
  for (const [key, path] of directories) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isDirectory() === true) continue;
    const what = stat === undefined ? "which does not exist" : "which is not a directory";
    throw new OlError(
      "config_invalid",
      `Cannot use ${origin}: "${key}" is ${JSON.stringify(path)}, ${what}, a directory is expected`,
      { op: "config.paths", details: { key, path } },
    );
  }
}
