/** `ol lambdas`: what the cluster's registry holds. */

import { defineCommand } from "citty";
import type { RegistryEntry } from "../registry/contract.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { print, printJson } from "./output.ts";
import { openTemplateRegistry } from "./registry-of.ts";

/** Characters of a version that tell versions apart for a reader. */
const VERSION_SHOWN_CHARS = 14;

/**
 * @param entries of the registry
 * @returns a table with a line per lambda
 */
export function lambdaTable(entries: readonly RegistryEntry[]): string {
  const rows = entries.map((entry) => [
    entry.name,
    entry.version.slice(0, VERSION_SHOWN_CHARS),
    String(entry.sizeBytes),
    new Date(entry.modifiedMs).toISOString().replace(/\.\d+Z$/, "Z"),
  ]);
  const table = [["NAME", "VERSION", "BYTES", "CHANGED"], ...rows];
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...table.map((row) => (row[column] ?? "").length)),
  );
  return table
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

export default defineCommand({
  meta: {
    description: "Lists the lambdas of the cluster's registry: version, size, time of change.",
  },
  args: { cluster: CLUSTER_ARG, json: JSON_ARG },
  async run({ args }): Promise<void> {
    const paths = await openClusterOf(args.cluster);
    const { registry } = openTemplateRegistry(paths);
    const entries = await registry.list();
    if (args.json) printJson({ lambdas: entries });
    else print(lambdaTable(entries));
  },
});
