/**
 * The source tree's import ranks as data (STYLE.md, "Tree and import ranks"): which folder of
 * `src/` may import which. The lint configuration enforces it while one types; the tests here prove
 * that it does, and check what a lint rule cannot see (dynamic imports).
 */

/** Rank of each folder of `src/`; a folder imports only lower ranks, never a peer. */
export const RANKS = {
  common: 0,
  sys: 1,
  config: 1,
  guest: 1,
  cluster: 2,
  cgroup: 2,
  base: 2,
  registry: 2,
  sandbox: 2,
  "sandbox/sock": 3,
  "sandbox/docker": 3,
  packages: 3,
  zygote: 4,
  lambda: 5,
  server: 6,
  worker: 7,
  cli: 8,
} as const satisfies Record<string, number>;

/** A folder of `src/` that has a rank. */
export type Folder = keyof typeof RANKS;

/** All folders, lowest rank first. */
export const FOLDERS = Object.keys(RANKS) as Folder[];

/** Who may import a folder although its rank would let more in; folders not named: by rank alone. */
const IMPORTERS: Partial<Record<Folder, readonly Folder[]>> = {
  // Everything that can crash the process or change the kernel's view of it stays behind two doors.
  sys: ["sandbox/sock", "worker"],
  // Only the composition root names a concrete engine.
  "sandbox/sock": ["worker"],
  "sandbox/docker": ["worker"],
};

/** What a folder may import although its rank would let it have more. */
const IMPORTS: Partial<Record<Folder, readonly Folder[]>> = {
  // HTTP only: it knows the lambda layer's contract, not how a sandbox is made.
  server: ["common", "config", "registry", "lambda"],
};

/**
 * @param from folder of the importing file
 * @param to folder of the imported file
 * @returns whether that import is allowed
 */
export function mayImport(from: Folder, to: Folder): boolean {
  if (from === to) return true;
  if (RANKS[to] >= RANKS[from]) return false;
  const importers = IMPORTERS[to];
  if (importers !== undefined && !importers.includes(from)) return false;
  const imports = IMPORTS[from];
  return imports === undefined || imports.includes(to);
}

/**
 * @param path path of a file below `src/`, with forward slashes
 * @returns its folder, or null for `main.ts` and for a folder that has no rank
 */
export function folderOf(path: string): Folder | null {
  const parts = path.split("/");
  const two = parts.slice(0, 2).join("/");
  if (parts.length > 2 && two in RANKS) return two as Folder;
  const one = parts[0] ?? "";
  return parts.length > 1 && one in RANKS ? (one as Folder) : null;
}
