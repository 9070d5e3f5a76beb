/** Flags that several commands share, and the checks of their values. */

import type { ClusterPaths } from "../cluster/paths.ts";
import { usageError } from "./args.ts";

/** `--cluster`, by default from the environment. */
export const CLUSTER_ARG = {
  type: "string",
  description: "Cluster directory; default: $OL_CLUSTER",
  valueHint: "DIR",
} as const;

/** `--json`. */
export const JSON_ARG = {
  type: "boolean",
  description: "Print the result as JSON",
} as const;

/** What citty gives for a flag that was not used, or was. */
export type FlagValue = string | boolean | undefined;

/**
 * @param value of `--cluster`
 * @returns the directory that the user named, by flag or environment
 * @throws {OlError} usage
 */
export function clusterDirOf(value: FlagValue): string {
  const dir = typeof value === "string" ? value : process.env["OL_CLUSTER"];
  if (dir === undefined || dir === "") {
    throw usageError("Cannot tell the cluster: --cluster=DIR is missing and OL_CLUSTER is not set");
  }
  return dir;
}

/**
 * @param value of `--cluster`
 * @returns the paths of a cluster that exists
 * @throws {OlError} usage, cluster_missing, cluster_invalid
 */
export async function openClusterOf(value: FlagValue): Promise<ClusterPaths> {
  const dir = clusterDirOf(value);
  const { openCluster } = await import("../cluster/open.ts");
  return openCluster(dir);
}

/**
 * @param flag its name, for the message
 * @param value as typed
 * @param min smallest that makes sense
 * @param max largest that makes sense
 * @returns the number
 * @throws {OlError} usage
 */
export function wholeNumberOf(flag: string, value: string, min: number, max: number): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw usageError(
    `Cannot use --${flag}=${value}: a whole number from ${min} to ${max} is expected`,
  );
}
