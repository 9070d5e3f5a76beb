/** Which modules a distribution provides, from pip's RECORD: `pillow` gives `PIL`. */

import { DISTRIBUTION_IMPORTS_MAX_COUNT, MODULE_NAME_MAX_CHARS } from "../common/package-limits.ts";

/** What a distribution makes importable. */
export interface ModuleNames {
  /** Top-level modules; the parts of a namespace package by their dotted names. */
  readonly modules: readonly string[];
  /** Those worth importing ahead of need where a lambda only named the distribution. */
  readonly imports: readonly string[];
}

const IDENTIFIER = /^[A-Za-z_]\w*$/;
const MODULE_FILE = /^([A-Za-z_]\w*)(?:\.py|(?:\.[\w-]+)?\.so)$/;
/** Directories that badly packaged distributions leave at the top: nobody imports them. */
const JUNK = new Set(
  "test tests testing docs doc example examples benchmark benchmarks scripts build dist".split(" "),
);

/** A directory of Python files: what is directly in it, and below. */
interface Folder {
  readonly files: Set<string>;
  readonly folders: Map<string, Folder>;
}

const newFolder = (): Folder => ({ files: new Set(), folders: new Map() });

/**
 * @param text a RECORD file
 * @returns the paths that it lists, relative to where modules lie; scripts and data elsewhere are left out
 */
export function recordPaths(text: string): readonly string[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const quoted = /^"((?:[^"]|"")*)"/.exec(line)?.[1]?.replaceAll('""', '"');
    const path = quoted ?? line.split(",", 1)[0] ?? "";
    const parts = path.split("/");
    return path === "" || path.startsWith("/") || parts.includes("..") ? [] : [path];
  });
}

function buildTree(paths: readonly string[]): Folder {
  const root = newFolder();
  for (const path of paths) {
    const parts = path.split("/");
    const file = parts.pop() ?? "";
    const module = MODULE_FILE.exec(file)?.[1];
    if (module === undefined || !parts.every((part) => IDENTIFIER.test(part))) continue;
    let folder = root;
    for (const part of parts) {
      const next = folder.folders.get(part) ?? newFolder();
      folder.folders.set(part, next);
      folder = next;
    }
    folder.files.add(module);
  }
  return root;
}

function collect(
  folder: Folder,
  prefix: string,
  isNamespace: (dotted: string) => boolean,
): string[] {
  const names = [...folder.files]
    .filter((name) => name !== "__init__")
    .map((name) => prefix + name);
  for (const [name, child] of folder.folders) {
    const dotted = prefix + name;
    const regular = child.files.has("__init__");
    if (regular && !isNamespace(dotted)) names.push(dotted);
    else names.push(...collect(child, `${dotted}.`, isNamespace));
  }
  return names;
}

/** A name without what differs between the spellings of a module and its distribution. */
const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_.]/g, "");

/**
 * @param distribution normalised name
 * @param paths of RECORD that really are there
 * @param isNamespace whether the package's `__init__` declares a namespace of the old styles
 * @returns its modules, sorted
 */
export function moduleNames(
  distribution: string,
  paths: readonly string[],
  isNamespace: (dotted: string) => boolean,
): ModuleNames {
  const modules = [...new Set(collect(buildTree(paths), "", isNamespace))].toSorted();
  const same = modules.filter((name) => plain(name) === plain(distribution));
  const top = modules.filter((name) => {
    const parts = name.split(".");
    return !parts.some((part) => part.startsWith("_")) && !JUNK.has(parts[0] ?? "");
  });
  // Its files decide how many there are and how long their names: each goes into requests to a zygote.
  const imports = (same.length > 0 ? same : top)
    .filter((name) => name.length <= MODULE_NAME_MAX_CHARS)
    .slice(0, DISTRIBUTION_IMPORTS_MAX_COUNT);
  return { modules, imports };
}
