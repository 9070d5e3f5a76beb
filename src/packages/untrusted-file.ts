/** Files that a sandbox could write, opened without following or waiting for anything it may have put there. */

import { constants } from "node:fs";
import { open } from "node:fs/promises";

/** Flags of open(2) for one: no link is followed, no pipe or terminal waited for. */
export const UNTRUSTED_FILE_FLAGS =
  constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * Reads a file that a sandbox wrote, without following or waiting for anything it may have put there.
 * @param path the file; every directory on the way is ours or frozen: only the last component is distrusted
 * @param maxBytes most that it may hold
 * @returns its content, or null where there is no such regular file of at most that size
 */
export async function tryReadUntrusted(path: string, maxBytes: number): Promise<string | null> {
  let file;
  try {
    file = await open(path, UNTRUSTED_FILE_FLAGS);
  } catch {
    return null;
  }
  try {
    const found = await file.stat();
    return found.isFile() && found.size <= maxBytes ? await file.readFile("utf8") : null;
  } finally {
    await file.close();
  }
}
