/** Directories that end with the test. */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { waitFor } from "./wait-for.ts";

/** A directory of a test's own; `using` removes it with all that is in it. */
export interface TempDir extends Disposable {
  /** Absolute path. */
  readonly path: string;
  /**
   * @param names components below the directory
   * @returns their absolute path; nothing is created
   */
  join(...names: string[]): string;
  /** Removes it; idempotent. */
  remove(): void;
}

/**
 * @param prefix start of its name, so that a leftover tells whose it is
 * @returns a new, empty directory
 */
export function tempDir(prefix = "ol-test-"): TempDir {
  const path = mkdtempSync(join(tmpdir(), prefix));
  const remove = (): void => rmSync(path, { recursive: true, force: true });
  return { path, join: (...names) => join(path, ...names), remove, [Symbol.dispose]: remove };
}

/**
 * Removes a directory in which others remove something in the background: two removals at once can miss each
 * other's part.
 * @param dir what is to go
 */
export async function removeShared(dir: TempDir): Promise<void> {
  await waitFor(() => {
    dir.remove();
    return !existsSync(dir.path);
  }, "the directory is gone");
}
