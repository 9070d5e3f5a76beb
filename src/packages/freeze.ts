/**
 * Turns what an installer sandbox wrote into something that every sandbox may read: regular files and
 * directories only, owned by root, writable by nobody. Called when every process of that sandbox is dead,
 * so nothing changes underneath; still, nothing it made is ever followed.
 */

import { constants } from "node:fs";
import { chmod, lchown, lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { OlError } from "../common/errors.ts";
import { DISTRIBUTION_DEPTH_MAX, DISTRIBUTION_ENTRIES_MAX } from "../common/limits.ts";

/** What a frozen tree holds. */
export interface FrozenTree {
  /** Paths of regular files, relative to the tree. */
  readonly files: ReadonlySet<string>;
  readonly sizeBytes: number;
}

const DIRECTORY_MODE = 0o755;
const EXECUTABLE_MODE = 0o755;
const FILE_MODE = 0o644;

function refuse(path: string, what: string): OlError {
  const shown = JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
  return new OlError(
    "package_install",
    `Cannot install a package that contains ${shown}: it is ${what}, only plain files and directories are allowed`,
    { op: "packages.freeze" },
  );
}

class Freezer {
  readonly files = new Set<string>();
  sizeBytes = 0;
  #entries = 0;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async directory(path: string, depth: number): Promise<void> {
    if (depth > DISTRIBUTION_DEPTH_MAX) throw refuse(path, "nested too deep");
    const full = join(this.#root, path);
    // Taken over before it is listed: from here on its former owner cannot change it.
    await lchown(full, 0, 0);
    await chmod(full, DIRECTORY_MODE);
    for (const name of await readdir(full)) {
      this.#entries += 1;
      if (this.#entries > DISTRIBUTION_ENTRIES_MAX) {
        throw refuse(path, `one of more than ${DISTRIBUTION_ENTRIES_MAX} files`);
      }
      if (name.includes("\uFFFD")) throw refuse(name, "named in no UTF-8");
      await this.#entry(path === "" ? name : `${path}/${name}`, depth);
    }
  }

  async #entry(path: string, depth: number): Promise<void> {
    const full = join(this.#root, path);
    const found = await lstat(full);
    if (found.isDirectory()) {
      await this.directory(path, depth + 1);
    } else if (found.isSymbolicLink()) {
      throw refuse(path, "a symbolic link");
    } else if (!found.isFile()) {
      throw refuse(path, "a device, pipe or socket");
    } else if (found.nlink !== 1) {
      throw refuse(path, "a hard link");
    } else {
      // Changing the owner drops setuid bits and file capabilities; the mode comes after it.
      await lchown(full, 0, 0);
      await chmod(full, (found.mode & 0o111) === 0 ? FILE_MODE : EXECUTABLE_MODE);
      this.files.add(path);
      this.sizeBytes += found.size;
    }
  }
}

/**
 * @param root directory that a dead sandbox filled
 * @returns what is in it, after it was made root's and read-only
 * @throws {OlError} package_install where it holds links, devices or too much
 */
export async function freezeTree(root: string): Promise<FrozenTree> {
  if (!(await lstat(root)).isDirectory()) throw refuse(".", "not a directory");
  const freezer = new Freezer(root);
  await freezer.directory("", 0);
  return { files: freezer.files, sizeBytes: freezer.sizeBytes };
}

/**
 * Reads a file that a sandbox wrote, without following or waiting for anything it may have put there.
 * @param path the file, in a directory of ours
 * @param maxBytes most that it may hold
 * @returns its content, or null where there is no such regular file of at most that size
 */
export async function tryReadUntrusted(path: string, maxBytes: number): Promise<string | null> {
  const flags =
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
  let file;
  try {
    file = await open(path, flags);
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
