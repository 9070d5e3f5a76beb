/** Files that are whole or not there: settings and pid files survive a crash and a full disk. */

import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/**
 * Writes a file of mode 0600 by way of a temporary sibling; readers see the old or the new content.
 * @param path where it goes; a link there is replaced, not followed
 * @param text its content
 * @throws {Error} the system's error, with nothing left behind
 */
export function writeFileAtomic(path: string, text: string): void {
  const suffix = randomBytes(6).toString("hex");
  const temporary = join(dirname(path), `.${basename(path)}.${suffix}`);
  try {
    const descriptor = openSync(temporary, "wx", 0o600);
    try {
      writeFileSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
