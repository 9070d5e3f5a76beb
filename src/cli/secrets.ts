/**
 * Keys of registries from the command line. What stands there anybody can read in the list of
 * processes, so a key may come from a file, from stdin or from the environment instead.
 */

import { readFileSync } from "node:fs";
import { errnoNameOf } from "../common/errors.ts";
import { usageError } from "./args.ts";

/** Variables that stand for `--access-key` and `--secret-key`. */
const VARIABLES = { "access-key": "OL_ACCESS_KEY", "secret-key": "OL_SECRET_KEY" } as const;

const STDIN = 0;

/** `--access-key`, for commands that differ in what it defaults to. */
export const ACCESS_KEY_ARG = { type: "string", valueHint: "KEY" } as const;

/** `--secret-key`, likewise. */
export const SECRET_KEY_ARG = { type: "string", valueHint: "@FILE" } as const;

/** How the help tells of the ways to give a key. */
export const SECRET_KEY_HELP =
  "Its secret: in a FILE, - for stdin, $OL_SECRET_KEY, or as it is, which others see in ps";

/**
 * @param value as typed: a text, `@FILE`, or `-` for stdin
 * @param what the message calls it
 * @returns the text, without the line's end that editors put behind it
 * @throws {OlError} usage
 */
export function textOf(value: string, what: string): string {
  if (value !== "-" && !value.startsWith("@")) return value;
  try {
    return readFileSync(value === "-" ? STDIN : value.slice(1), "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    const from = value === "-" ? "stdin" : value.slice(1);
    throw usageError(`Cannot read ${what} from ${from}: ${errnoNameOf(error) ?? String(error)}`);
  }
}

/** Keys as they were given; undefined where they were not. */
export interface GivenKeys {
  readonly accessKey: string | undefined;
  readonly secretKey: string | undefined;
}

/**
 * @param args values of the two flags
 * @param env environment
 * @returns the keys that the user gave in one way or the other
 * @throws {OlError} usage
 */
export function givenKeys(
  args: Readonly<Record<keyof typeof VARIABLES, string | undefined>>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): GivenKeys {
  if (args["access-key"] === "-" && args["secret-key"] === "-") {
    throw usageError("Cannot read two keys from stdin: one of them must come from elsewhere");
  }
  const keyOf = (flag: keyof typeof VARIABLES): string | undefined => {
    const typed = args[flag];
    return typed === undefined ? env[VARIABLES[flag]] || undefined : textOf(typed, `--${flag}`);
  };
  return { accessKey: keyOf("access-key"), secretKey: keyOf("secret-key") };
}

/**
 * @param env environment of this process
 * @returns it without the keys, for processes that get them in a file
 */
export function withoutKeys(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string | undefined> {
  const clean = { ...env };
  for (const name of Object.values(VARIABLES)) delete clean[name];
  return clean;
}
