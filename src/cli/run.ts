/**
 * From a command line to an exit status: finds the command, checks its arguments, runs it, and turns what
 * it throws into one sentence on stderr. Nothing else in the project decides about exit statuses.
 */

import { basename } from "node:path";
import type { ArgsDef, CommandMeta } from "citty";
import { type OlError, toOlError } from "../common/errors.ts";
import { tryNearest } from "../config/nearest.ts";
import { normaliseArgs, usageError } from "./args.ts";
import { type AnyCommand, COMMANDS } from "./commands.ts";
import { print, printError } from "./output.ts";
import { keepLoopbackFromProxies } from "./proxies.ts";

declare const VERSION: string | undefined;

/** The program's version; a build defines it. */
const version = typeof VERSION === "string" ? VERSION : "0.0.0-dev";

const EXIT_DONE = 0;
const EXIT_USAGE = 2;

/** Both names are one program; only help texts show which was typed. */
function programOf(argv0: string): string {
  return basename(argv0) === "admin" ? "admin" : "ol";
}

async function loadCommand(program: string, name: string): Promise<AnyCommand> {
  const entry = COMMANDS.get(name);
  if (entry === undefined) {
    const nearest = tryNearest(name, COMMANDS.keys());
    const hint = nearest === null ? `"${program} help" lists them` : `did you mean "${nearest}"`;
    throw usageError(`Cannot run ${JSON.stringify(name)}: there is no such command, ${hint}`);
  }
  return (await entry.load()).default;
}

// Modules of commands export plain objects: citty's promises and functions for these two are not used.
const argsOf = (command: AnyCommand): ArgsDef => (command.args ?? {}) as ArgsDef;
const metaOf = (command: AnyCommand): CommandMeta => (command.meta ?? {}) as CommandMeta;

async function showHelp(program: string, name: string | undefined): Promise<number> {
  const { renderCommandHelp, renderOverview } = await import("./help.ts");
  if (name === undefined) {
    print(renderOverview(program));
    return EXIT_DONE;
  }
  const command = await loadCommand(program, name);
  const description = metaOf(command).description ?? "";
  print(renderCommandHelp(program, name, description, argsOf(command)));
  return EXIT_DONE;
}

async function runCommandLine(program: string, argv: readonly string[]): Promise<number> {
  const [first, ...rest] = argv;
  if (first === undefined) {
    const { renderOverview } = await import("./help.ts");
    printError(renderOverview(program));
    return EXIT_USAGE;
  }
  if (/^(--?version|-[vV]|version)$/.test(first)) {
    print(`${program} ${version}\n`);
    return EXIT_DONE;
  }
  if (/^(--?help|-h|help)$/.test(first)) return showHelp(program, rest[0]);
  if (first.startsWith("-")) {
    throw usageError(`Cannot use ${first}: a command comes first, "${program} help" lists them`);
  }
  const command = await loadCommand(program, first);
  const { rawArgs, help } = normaliseArgs(first, argsOf(command), rest);
  if (help) return showHelp(program, first);
  const { runCommand } = await import("citty");
  const { result } = await runCommand(command, { rawArgs });
  return typeof result === "number" ? result : EXIT_DONE;
}

/** Whether a switch is on the command line, however that went wrong otherwise. */
function hasSwitch(argv: readonly string[], name: string): boolean {
  const end = argv.indexOf("--");
  const flags = end === -1 ? argv : argv.slice(0, end);
  return flags.some((argument) => argument === `--${name}` || argument === `-${name}`);
}

function report(program: string, argv: readonly string[], error: OlError, thrown: unknown): void {
  if (hasSwitch(argv, "json")) {
    const { code, message, details } = error;
    printError(`${JSON.stringify({ error: { code, message, details } })}\n`);
  } else {
    printError(`${program}: ${error.message}\n`);
  }
  if (!hasSwitch(argv, "verbose")) return;
  for (let cause = thrown; cause instanceof Error; cause = cause.cause) {
    printError(`${cause.stack ?? String(cause)}\n`);
  }
}

/**
 * @param argv0 the name under which the program was started
 * @param argv its arguments
 * @returns the exit status: 0 done, 1 it failed, 2 used wrongly
 */
export async function runCli(argv0: string, argv: readonly string[]): Promise<number> {
  const program = programOf(argv0);
  keepLoopbackFromProxies(process.env);
  try {
    return await runCommandLine(program, argv);
  } catch (thrown) {
    const error = toOlError(thrown);
    report(program, argv, error, thrown);
    return error.rule.exit;
  }
}
