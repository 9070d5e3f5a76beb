/**
 * Reads `packages.txt` and `requirements.txt`: names of packages and nothing else. Whatever pip would
 * take for an option, a URL, a path or a variable is refused here, so that a line that passes can only
 * ever mean "a distribution of the configured index". pip itself judges versions and markers.
 *
 * The file is hostile: it is cut into lines and freed of comments in one pass without regular expressions,
 * some of which take quadratic time, and only a line of bounded length meets one.
 */

import { OlError } from "../common/errors.ts";
import {
  MODULE_NAME_MAX_CHARS,
  REQUIREMENT_LINE_MAX_CHARS,
  REQUIREMENTS_MAX_COUNT,
} from "../common/package-limits.ts";

/** One requirement of a lambda. */
export interface Requirement {
  /** What pip gets: name, extras, versions and marker, in one spelling. */
  readonly line: string;
  /** Distribution name as PEP 503 normalises it. */
  readonly name: string;
  /** Module of an `import:install` line; null where the distribution's own metadata decide. */
  readonly module: string | null;
}

const MODULE = /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/;
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?/;
const EXTRAS = /^\[\s*(?:[A-Za-z0-9][A-Za-z0-9._-]*(?:\s*,\s*[A-Za-z0-9][A-Za-z0-9._-]*)*)?\s*\]/;
const CLAUSE = /^(?:===|~=|==|!=|<=|>=|<|>)\s*[A-Za-z0-9][A-Za-z0-9.*+!_-]*$/;
const MARKER_TOKEN =
  /^(?:\s+|[()]|[<>=!~]=|===|[<>]|(?:and|or|not|in)\b|(?:python_version|python_full_version|os_name|sys_platform|platform_(?:release|system|version|machine|python_implementation)|implementation_(?:name|version)|extra)\b|'[\w .,+*-]*'|"[\w .,+*-]*")/;

/**
 * @param name distribution name in any spelling
 * @returns it as PEP 503 normalises it
 * @see https://packaging.python.org/en/latest/specifications/name-normalization/
 */
export function normalizeName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, "-");
}

/**
 * @param text one line without comment
 * @returns what is wrong with it in words, for the kinds of line that pip knows and a lambda may not use
 */
function refusal(text: string): string | null {
  if (text.startsWith("-")) {
    return 'options are not allowed, only requirements such as "requests>=2.31"';
  }
  if (/\s--?[a-z]/.test(text)) {
    return "options are not allowed (nor are hashes: each artifact is pinned by its hash anyway)";
  }
  if (text.includes("://") || /^[^;]*@/.test(text)) {
    return "URLs are not allowed, only packages of the configured index";
  }
  if (
    /^[./~\\]/.test(text) ||
    /^[^;]*[/\\]/.test(text) ||
    /\.(?:whl|zip|tar\.\w+|tgz)$/.test(text)
  ) {
    return "paths are not allowed, only packages of the configured index";
  }
  return null;
}

function isMarker(text: string): boolean {
  let rest = text;
  while (rest !== "") {
    const token = MARKER_TOKEN.exec(rest)?.[0];
    if (token === undefined) return false;
    rest = rest.slice(token.length);
  }
  return text.trim() !== "";
}

/** @returns the requirement in one spelling, or what is wrong with it */
function parseRequirement(text: string, module: string | null): Requirement | string {
  const wanted = 'expected a requirement such as "requests>=2.31" or "PIL:pillow==10.4.0"';
  const name = NAME.exec(text)?.[0];
  if (name === undefined) return wanted;
  let rest = text.slice(name.length).trimStart();
  const extras = EXTRAS.exec(rest)?.[0] ?? "";
  rest = rest.slice(extras.length).trim();
  const semicolon = rest.indexOf(";");
  const marker = semicolon < 0 ? "" : rest.slice(semicolon + 1).trim();
  if (semicolon >= 0 && !isMarker(marker)) return `${wanted}; what follows ";" is no marker`;
  let versions = (semicolon < 0 ? rest : rest.slice(0, semicolon)).trim();
  if (versions.startsWith("(") && versions.endsWith(")")) versions = versions.slice(1, -1).trim();
  const clauses = versions === "" ? [] : versions.split(",").map((clause) => clause.trim());
  if (clauses.at(-1) === "") clauses.pop();
  if (!clauses.every((clause) => CLAUSE.test(clause))) return wanted;
  const specifier = clauses.map((clause) => clause.replaceAll(/\s+/g, "")).join(",");
  const line = `${name}${extras.replaceAll(/\s+/g, "")}${specifier}${marker && ` ; ${marker}`}`;
  return { line, name: normalizeName(name), module };
}

function parseLine(text: string, allowImport: boolean): Requirement | string {
  const importForm = allowImport ? /^([A-Za-z_][\w.]*)\s*:(?!\/\/)\s*(.*)$/.exec(text) : null;
  const install = importForm?.[2] ?? text;
  const module = importForm?.[1] ?? null;
  if (module !== null && module.length > MODULE_NAME_MAX_CHARS) {
    return `the module before ":" has ${module.length} characters, at most ${MODULE_NAME_MAX_CHARS} are allowed`;
  }
  if (module !== null && !MODULE.test(module)) return `"${module}" cannot be a module's name`;
  return refusal(install) ?? parseRequirement(install, module);
}

/** Cuts a comment off: from a `#` at the start or behind white space, as pip does. */
function withoutComment(line: string): string {
  for (let at = line.indexOf("#"); at >= 0; at = line.indexOf("#", at + 1)) {
    if (at === 0 || line.charAt(at - 1).trim() === "") return line.slice(0, at).trim();
  }
  return line.trim();
}

/** All line ends that an editor may have written. */
function linesOf(text: string): readonly string[] {
  const plain = text.startsWith("\uFEFF") ? text.slice(1) : text;
  return plain.replaceAll("\r\n", "\n").replaceAll("\r", "\n").split("\n");
}

/**
 * @param text content of the file
 * @param file `packages.txt` (takes `import:install` lines too) or `requirements.txt`
 * @returns its requirements, in order
 * @throws {OlError} package_install, naming the line
 */
export function parseRequirements(
  text: string,
  file: "packages.txt" | "requirements.txt" | "startup_pkgs",
): readonly Requirement[] {
  const found: Requirement[] = [];
  for (const [index, raw] of linesOf(text).entries()) {
    const line = withoutComment(raw);
    if (line === "") continue;
    const parsed =
      line.length > REQUIREMENT_LINE_MAX_CHARS
        ? `it has ${line.length} characters, at most ${REQUIREMENT_LINE_MAX_CHARS} are allowed`
        : parseLine(line, file !== "requirements.txt");
    if (typeof parsed === "string") {
      const shown = JSON.stringify(line.length > 80 ? `${line.slice(0, 80)}…` : line);
      throw new OlError(
        "package_install",
        `Cannot use line ${index + 1} of ${file}, ${shown}: ${parsed}`,
        { op: "packages.parse", details: { file, line: index + 1 } },
      );
    }
    found.push(parsed);
    if (found.length > REQUIREMENTS_MAX_COUNT) {
      throw new OlError(
        "package_install",
        `Cannot use ${file}: it has more than ${REQUIREMENTS_MAX_COUNT} requirements, the most that are allowed`,
        { op: "packages.parse" },
      );
    }
  }
  return found;
}
