/**
 * Turns what an installer sandbox wrote into something that every sandbox may read: regular files and
 * directories only, owned by root, writable by nobody. Called when every process of that sandbox is dead,
 * so nothing changes underneath; still, nothing it made is ever followed: a name that it left may be a link
 * into the host, whose files would then be the ones that change hands.
 */

import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  type Stats,
} from "node:fs";
import { readdir } from "node:fs/promises";
import { errnoNameOf, OlError } from "../common/errors.ts";
import {
  DISTRIBUTION_DEPTH_MAX,
  DISTRIBUTION_ENTRIES_MAX,
  FREEZE_PAUSE_ENTRIES,
} from "../common/package-limits.ts";
import type { UntrustedDir } from "./untrusted-dir.ts";
import { UNTRUSTED_FILE_FLAGS } from "./untrusted-file.ts";

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

/** Where what a sandbox wrote comes from: its own id, on the file system of its work directory. */
export type Origin = Pick<Stats, "uid" | "dev">;

/**
 * @param found what was opened
 * @param origin what it has to come from
 * @param path its name in the message
 * @throws {OlError} package_install where it is somebody else's
 */
export function checkOrigin(found: Stats, origin: Origin, path: string): void {
  if (found.uid !== origin.uid || found.dev !== origin.dev) {
    throw refuse(path, "not the installer's own");
  }
}

/**
 * @param parent where it is
 * @param name one component
 * @param path its name in the message
 * @returns the directory, not followed
 * @throws {OlError} package_install where it is a link or no directory
 */
export function openReal(parent: UntrustedDir, name: string, path: string): UntrustedDir {
  try {
    return parent.openChild(name);
  } catch (error) {
    const errno = errnoNameOf(error);
    if (errno === "ENOTDIR" || errno === "ELOOP" || errno === "ENOENT") {
      throw refuse(path, "not a directory");
    }
    throw error;
  }
}

class Freezer {
  readonly files = new Set<string>();
  sizeBytes = 0;
  #entries = 0;
  readonly #origin: Origin;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  async directory(dir: UntrustedDir, path: string, depth: number): Promise<void> {
    if (depth > DISTRIBUTION_DEPTH_MAX) throw refuse(path, "nested too deep");
    checkOrigin(dir.stat(), this.#origin, path);
    // Taken over before it is listed: from here on its former owner cannot change it.
    dir.takeOver(DIRECTORY_MODE);
    for (const name of await readdir(dir.path())) {
      this.#entries += 1;
      if (this.#entries > DISTRIBUTION_ENTRIES_MAX) {
        throw refuse(path, `one of more than ${DISTRIBUTION_ENTRIES_MAX} files`);
      }
      if (name.includes("\uFFFD")) throw refuse(name, "named in no UTF-8");
      if (this.#entries % FREEZE_PAUSE_ENTRIES === 0) await nextTurn();
      await this.#entry(dir, name, path === "" ? name : `${path}/${name}`, depth);
    }
  }

  async #entry(parent: UntrustedDir, name: string, path: string, depth: number): Promise<void> {
    // A look before it is opened: opening a device can do things.
    const found = lstatSync(parent.path(name));
    if (found.isDirectory()) {
      using dir = openReal(parent, name, path);
      await this.directory(dir, path, depth + 1);
    } else if (found.isSymbolicLink()) {
      throw refuse(path, "a symbolic link");
    } else if (!found.isFile()) {
      throw refuse(path, "a device, pipe or socket");
    } else {
      this.#file(parent.path(name), path);
    }
  }

  #file(full: string, path: string): void {
    const fd = openSync(full, UNTRUSTED_FILE_FLAGS);
    try {
      const found = fstatSync(fd);
      if (!found.isFile()) throw refuse(path, "not a file any more");
      if (found.nlink !== 1) throw refuse(path, "a hard link");
      checkOrigin(found, this.#origin, path);
      // Changing the owner drops setuid bits and file capabilities; the mode comes after it.
      fchownSync(fd, 0, 0);
      fchmodSync(fd, (found.mode & 0o111) === 0 ? FILE_MODE : EXECUTABLE_MODE);
      this.files.add(path);
      this.sizeBytes += found.size;
    } finally {
      closeSync(fd);
    }
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * @param dir what a dead sandbox filled
 * @param origin whose everything in it has to be
 * @returns what is in it, after it was made root's and read-only
 * @throws {OlError} package_install where it holds links, devices or too much
 */
export async function freezeTree(dir: UntrustedDir, origin: Origin): Promise<FrozenTree> {
  const freezer = new Freezer(origin);
  await freezer.directory(dir, "", 0);
  return { files: freezer.files, sizeBytes: freezer.sizeBytes };
}
