/**
 * Turns what an installer sandbox wrote into something that every sandbox may read: regular files and
 * directories only, owned by root, writable by nobody. Called when every process of that sandbox is dead,
 * so nothing changes underneath; still, nothing it made is ever followed: a name that it left may be a link
 * into the host, whose files would then be the ones that change hands.
 */

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  type Stats,
} from "node:fs";
import { open, readdir } from "node:fs/promises";
import { errnoNameOf, OlError } from "../common/errors.ts";
import {
  DISTRIBUTION_DEPTH_MAX,
  DISTRIBUTION_ENTRIES_MAX,
  FREEZE_PAUSE_ENTRIES,
} from "../common/limits.ts";
import { UntrustedDir } from "./untrusted-dir.ts";

/** What a frozen tree holds. */
export interface FrozenTree {
  /** Paths of regular files, relative to the tree. */
  readonly files: ReadonlySet<string>;
  readonly sizeBytes: number;
}

const DIRECTORY_MODE = 0o755;
const EXECUTABLE_MODE = 0o755;
const FILE_MODE = 0o644;
const FILE_FLAGS =
  constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

function refuse(path: string, what: string): OlError {
  const shown = JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
  return new OlError(
    "package_install",
    `Cannot install a package that contains ${shown}: it is ${what}, only plain files and directories are allowed`,
    { op: "packages.freeze" },
  );
}

/** Where what a sandbox wrote comes from: its own id, on the file system of its work directory. */
type Origin = Pick<Stats, "uid" | "dev">;

function checkOrigin(found: Stats, origin: Origin, path: string): void {
  if (found.uid !== origin.uid || found.dev !== origin.dev) {
    throw refuse(path, "not the installer's own");
  }
}

function openReal(parent: UntrustedDir, name: string, path: string): UntrustedDir {
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
    const fd = openSync(full, FILE_FLAGS);
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

/** What a dead sandbox left in one directory of its work directory, out of its reach. */
export class Results implements Disposable {
  readonly #dir: UntrustedDir;
  readonly #origin: Origin;

  private constructor(dir: UntrustedDir, origin: Origin) {
    this.#dir = dir;
    this.#origin = origin;
  }

  /**
   * @param workDir what the sandbox, now dead, had to write into
   * @param name the directory in it
   * @returns that directory, made root's
   * @throws {OlError} package_install where it is no real directory of the sandbox's own
   */
  static open(workDir: string, name: string): Results {
    using work = UntrustedDir.open(workDir);
    // The engine gave the work directory to the one id that the sandbox had.
    const { uid, dev } = work.stat();
    const dir = openReal(work, name, name);
    try {
      checkOrigin(dir.stat(), { uid, dev }, name);
      dir.takeOver(0o700);
      return new Results(dir, { uid, dev });
    } catch (error) {
      dir[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * @param name a directory in it
   * @returns what is in that one, after it was made root's and read-only
   * @throws {OlError} package_install where it holds links, devices or too much
   */
  async freeze(name: string): Promise<FrozenTree> {
    using dir = openReal(this.#dir, name, name);
    const freezer = new Freezer(this.#origin);
    await freezer.directory(dir, "", 0);
    return { files: freezer.files, sizeBytes: freezer.sizeBytes };
  }

  /** @param name a directory that was frozen @returns its path, good until this is disposed of */
  path(name: string): string {
    return this.#dir.path(name);
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

/**
 * Reads a file that a sandbox wrote, without following or waiting for anything it may have put there.
 * @param path the file; every directory on the way is ours or frozen: only the last component is distrusted
 * @param maxBytes most that it may hold
 * @returns its content, or null where there is no such regular file of at most that size
 */
export async function tryReadUntrusted(path: string, maxBytes: number): Promise<string | null> {
  let file;
  try {
    file = await open(path, FILE_FLAGS);
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
