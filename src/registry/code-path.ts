/**
 * What a path inside a lambda's code may look like, whatever brought it: a bundle or a directory.
 */

import { OlError } from "../common/errors.ts";
import { CODE_DEPTH_MAX, CODE_NAME_MAX_BYTES, CODE_PATH_MAX_BYTES } from "../common/limits.ts";

/** File that makes a directory a lambda. */
export const HANDLER_FILE = "lambda_func.py";

/** Directories that no registry carries: caches of the host's Python and version control. */
const LEFT_OUT: ReadonlySet<string> = new Set(["__pycache__", ".git", ".hg", ".svn"]);

/**
 * @param name one name in a directory
 * @returns whether it is left out of copies, bundles and version ids
 */
export function isLeftOut(name: string): boolean {
  return LEFT_OUT.has(name);
}

/**
 * @param message what is wrong, as "Cannot use the bundle: <is>, <wanted>"
 * @param cause failure underneath
 * @returns the error for code that must not be used
 */
export function invalidCode(message: string, cause?: unknown): OlError {
  return new OlError("bundle_invalid", message, { op: "registry.check", cause });
}

/**
 * @param text a name that a stranger chose
 * @returns it quoted, without control characters, at most 80 characters
 */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

function badName(name: string): string | null {
  if (name === "..") return 'a part ".."';
  if (name.includes("\uFFFD")) return "a name that is not UTF-8";
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f\\]/.test(name)) return "a control character or backslash";
  if (Buffer.byteLength(name) > CODE_NAME_MAX_BYTES) {
    return `a name over ${CODE_NAME_MAX_BYTES} bytes`;
  }
  return null;
}

/**
 * @param raw path as an archive has it: `./a/b`, `a/b/`
 * @returns its parts without empty ones and `.`; none for the root itself
 * @throws {OlError} bundle_invalid where it is absolute, leaves the root, is too long or too deep
 */
export function codePathParts(raw: string): string[] {
  const refuse = (why: string): OlError =>
    invalidCode(`Cannot use the bundle: entry ${quoted(raw)} has ${why}`);
  if (raw.startsWith("/")) throw refuse("an absolute path, wanted one relative to the bundle");
  if (Buffer.byteLength(raw) > CODE_PATH_MAX_BYTES) {
    throw refuse(`a path over ${CODE_PATH_MAX_BYTES} bytes`);
  }
  const parts = raw.split("/").filter((part) => part !== "" && part !== ".");
  for (const part of parts) {
    const why = badName(part);
    if (why !== null) throw refuse(why);
  }
  if (parts.length > CODE_DEPTH_MAX) throw refuse(`more than ${CODE_DEPTH_MAX} levels`);
  return parts;
}
