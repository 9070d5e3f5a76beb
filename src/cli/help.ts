/** Help texts, made from the same definitions that the arguments are checked against. */

import type { ArgDef, ArgsDef } from "citty";
import { GLOBAL_FLAGS } from "./args.ts";
import { COMMANDS } from "./commands.ts";

const INDENT = "  ";

function columns(rows: readonly (readonly [left: string, right: string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${INDENT}${left.padEnd(width)}  ${right}\n`).join("");
}

/**
 * @param program `ol` or `admin`
 * @returns the overview of all commands
 */
export function renderOverview(program: string): string {
  const shown = [...COMMANDS].filter(([, { hidden }]) => hidden !== true);
  const rows = shown.map(([name, { summary }]) => [name, summary] as const);
  return (
    `Usage: ${program} COMMAND [options]\n\n` +
    `OpenLambda: serverless functions on a machine of your own\n\nCommands:\n${columns(rows)}\n` +
    `"${program} COMMAND --help" tells more; OL_CLUSTER names the default cluster\n`
  );
}

const hintOf = (definition: ArgDef): string => definition.valueHint ?? "VALUE";

function flagRow(name: string, definition: ArgDef): readonly [string, string] {
  const aliases = "alias" in definition && definition.alias ? [definition.alias].flat() : [];
  const short = aliases.map((alias) => `${alias.length === 1 ? "-" : "--"}${alias}, `).join("");
  const value = definition.type === "boolean" ? "" : `=${hintOf(definition)}`;
  const byDefault =
    definition.default === undefined || definition.default === false
      ? ""
      : ` (default: ${definition.default})`;
  return [`${short}--${name}${value}`, `${definition.description ?? ""}${byDefault}`];
}

/**
 * @param program `ol` or `admin`
 * @param name of the command
 * @param description what it does, one or more sentences
 * @param args its flags and positional arguments
 * @returns its help
 */
export function renderCommandHelp(
  program: string,
  name: string,
  description: string,
  args: ArgsDef,
): string {
  const all = Object.entries(args);
  const positionals = all.filter(([, definition]) => definition.type === "positional");
  const flags = all.filter(([, definition]) => definition.type !== "positional");
  const shown = positionals.map(([key, definition]) =>
    definition.required === false ? ` [${key.toUpperCase()}]` : ` ${key.toUpperCase()}`,
  );
  const argumentRows = positionals.map(
    ([key, definition]) => [key.toUpperCase(), definition.description ?? ""] as const,
  );
  const flagRows = [...flags, ...Object.entries<ArgDef>(GLOBAL_FLAGS)].map((entry) =>
    flagRow(...entry),
  );
  return (
    `Usage: ${program} ${name} [options]${shown.join("")}\n\n${description}\n` +
    (argumentRows.length === 0 ? "" : `\nArguments:\n${columns(argumentRows)}`) +
    `\nOptions:\n${columns(flagRows)}`
  );
}
