/** The reference page of all settings, from the schema: nothing about a key is written twice. */

import { describeAllowed, type SchemaNode } from "./explain.ts";
import { CONFIG_SCHEMA } from "./schema.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");

function rowsOf(node: SchemaNode, prefix: string): string[] {
  const rows: string[] = [];
  for (const [key, property] of Object.entries(node.properties ?? {})) {
    if (property.properties !== undefined) {
      rows.push(...rowsOf(property, `${prefix}${key}.`));
      continue;
    }
    const byDefault =
      property.default === undefined ? "" : `\`${cell(JSON.stringify(property.default))}\``;
    const columns = [
      `\`${prefix}${key}\``,
      byDefault,
      cell(describeAllowed(property)),
      cell(property.description ?? ""),
    ];
    rows.push(`| ${columns.join(" | ")} |`);
  }
  return rows;
}

/** @returns a markdown table with one row per key: default, what is allowed, meaning */
export function renderConfigReference(): string {
  return [
    "| key | default | allowed | meaning |",
    "| --- | --- | --- | --- |",
    ...rowsOf(CONFIG_SCHEMA, ""),
    "",
  ].join("\n");
}
