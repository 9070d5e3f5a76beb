/** Things that take minutes to make and are the same every time, kept in `CACHE_DIR`. */

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";

import { CACHE_DIR } from "./paths.ts";

/** Changes with everything that the thing is made from. */
function digest(recipe: readonly string[]): string {
  const hash = new Bun.CryptoHasher("sha256");
  for (const path of recipe) hash.update(readFileSync(path));
  return hash.digest("hex").slice(0, 12);
}

/**
 * Makes it where it is missing; one that was made from something else is removed then.
 * @param name directory in `CACHE_DIR`
 * @param recipe files: a change of any of them makes a new one
 * @param build fills the directory that it gets, which is moved to its place when that is done
 * @returns the directory of the result
 */
export function cachedBuild(
  name: string,
  recipe: readonly string[],
  build: (dir: string) => void,
): string {
  const top = join(CACHE_DIR, name);
  const dir = join(top, digest(recipe));
  if (existsSync(dir)) return dir;
  mkdirSync(top, { recursive: true });
  for (const old of readdirSync(top)) {
    // One that is being built by another run has a process in it.
    if (!old.startsWith(".build-")) rmSync(join(top, old), { recursive: true, force: true });
  }
  const staging = mkdtempSync(join(top, ".build-"));
  try {
    chmodSync(staging, 0o755);
    build(staging);
    if (!existsSync(dir)) renameSync(staging, dir);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return dir;
}
