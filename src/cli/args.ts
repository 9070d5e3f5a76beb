/**
 * Command lines as upstream's Go programs take them: `-flag`, `--flag`, `-flag=v` and `-flag v` are one. citty
 * takes none of the single-dash forms and lets unknown flags pass, so what the user typed is checked
 * here and handed to it in one canonical form.
 */

import type { ArgDef, ArgsDef } from "citty";
import { OlError } from "../common/errors.ts";
import { tryNearest } from "../config/nearest.ts";

/** Flags that every command has, beside its own. */
export const GLOBAL_FLAGS = {
  verbose: { type: "boolean", description: "Show a stack trace where something fails" },
  help: { type: "boolean", alias: "h", description: "Show this help" },
} as const satisfies ArgsDef;

/** A checked command line. */
export interface NormalisedArgs {
  /** For citty: `--name=value` …, then `--` and the positional arguments. */
  readonly rawArgs: string[];
  readonly help: boolean;
  readonly verbose: boolean;
}

/** `-x`, `--name`, `--name=value`; a negative number is a value, not a flag. */
const FLAG = /^--?([A-Za-z][A-Za-z0-9_-]*)(?:=([^]*))?$/;

/**
 * @param message what was wrong and what to do
 * @returns the error for a wrong command line
 */
export function usageError(message: string): OlError {
  return new OlError("usage", message, { op: "cli.args" });
}

const aliasesOf = (definition: ArgDef): readonly string[] => {
  const alias = "alias" in definition ? definition.alias : undefined;
  return alias === undefined ? [] : [alias].flat();
};

interface Flags {
  readonly command: string;
  /** Canonical name by each spelling. */
  readonly names: ReadonlyMap<string, string>;
  readonly definitions: ReadonlyMap<string, ArgDef>;
}

function flagsOf(command: string, args: ArgsDef): Flags {
  const names = new Map<string, string>();
  const definitions = new Map<string, ArgDef>();
  for (const [name, definition] of Object.entries<ArgDef>({ ...GLOBAL_FLAGS, ...args })) {
    if (definition.type === "positional") continue;
    definitions.set(name, definition);
    for (const spelling of [name, ...aliasesOf(definition)]) names.set(spelling, name);
  }
  return { command, names, definitions };
}

function shownFlag(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}

function unknownFlag(flags: Flags, typed: string): OlError {
  const dashes = typed.length === 1 ? "-" : "--";
  const nearest = tryNearest(typed, flags.names.keys());
  const hint =
    nearest === null
      ? `"help ${flags.command}" lists what there is`
      : `did you mean ${shownFlag(nearest)}`;
  return usageError(`Cannot use ${dashes}${typed}: ${flags.command} has no such flag, ${hint}`);
}

function booleanOf(flag: string, value: string | undefined): boolean {
  if (value === undefined || /^(true|t|1)$/i.test(value)) return true;
  if (/^(false|f|0)$/i.test(value)) return false;
  throw usageError(`Cannot use --${flag}=${value}: it is a switch, true or false is expected`);
}

/** Where the argument names a known flag; so that a forgotten value is not taken from the next flag. */
function isKnownFlag(flags: Flags, argument: string): boolean {
  const name = FLAG.exec(argument)?.[1];
  return name !== undefined && flags.names.has(name);
}

/**
 * @param command name of the command, for messages
 * @param args its flags and positional arguments
 * @param argv what the user typed after the command
 * @returns the canonical command line
 * @throws {OlError} usage, naming the nearest flag where one is not known
 */
export function normaliseArgs(
  command: string,
  args: ArgsDef,
  argv: readonly string[],
): NormalisedArgs {
  const flags = flagsOf(command, args);
  const values = new Map<string, string | boolean>();
  const positionals: string[] = [];
  let index = 0;
  while (index < argv.length) {
    const argument = argv[index++] ?? "";
    if (argument === "--") {
      positionals.push(...argv.slice(index));
      break;
    }
    const [, typed, inline] = FLAG.exec(argument) ?? [];
    if (typed === undefined) {
      if (/^-[^\d.]/.test(argument)) throw unknownFlag(flags, argument.replace(/^-+/, ""));
      positionals.push(argument);
      continue;
    }
    const negated = typed.startsWith("no-") && !flags.names.has(typed);
    const name = flags.names.get(negated ? typed.slice(3) : typed);
    const definition = name === undefined ? undefined : flags.definitions.get(name);
    if (name === undefined || definition === undefined) throw unknownFlag(flags, typed);
    if (definition.type === "boolean") {
      values.set(name, booleanOf(name, inline) !== negated);
      continue;
    }
    if (negated) throw unknownFlag(flags, typed);
    const next = argv[index];
    if (inline !== undefined) values.set(name, inline);
    else if (next !== undefined && next !== "--" && !isKnownFlag(flags, next)) {
      values.set(name, next);
      index += 1;
    } else throw usageError(`Cannot use ${shownFlag(typed)}: it needs a value`);
  }
  const asked = { help: values.get("help") === true, verbose: values.get("verbose") === true };
  if (!asked.help) checkComplete(command, args, values, positionals);
  for (const name of Object.keys(GLOBAL_FLAGS)) values.delete(name);
  const rawArgs = [...values].map(([name, value]) => `--${name}=${value}`);
  return { rawArgs: [...rawArgs, "--", ...positionals], ...asked };
}

function checkComplete(
  command: string,
  args: ArgsDef,
  values: ReadonlyMap<string, string | boolean>,
  positionals: readonly string[],
): void {
  const wanted = Object.entries(args).filter(([, definition]) => definition.type === "positional");
  const surplus = positionals[wanted.length];
  if (surplus !== undefined) {
    const hint =
      "cluster" in args && wanted.length === 0 ? `, did you mean --cluster=${surplus}` : "";
    throw usageError(
      `Cannot use ${JSON.stringify(surplus)}: ${command} takes ` +
        `${wanted.length === 0 ? "no" : `${wanted.length}`} arguments beside its flags${hint}`,
    );
  }
  for (const [position, [name, definition]] of wanted.entries()) {
    const optional = definition.required === false || definition.default !== undefined;
    if (!optional && positionals[position] === undefined) {
      throw usageError(`Cannot run ${command}: ${name.toUpperCase()} is missing`);
    }
  }
  for (const [name, definition] of Object.entries(args)) {
    if (definition.type === "positional" || definition.required !== true) continue;
    if (!values.has(name)) throw usageError(`Cannot run ${command}: --${name} is missing`);
  }
}
