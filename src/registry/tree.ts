/**
 * A lambda's code as a directory of the local registry: what version it is, and a copy of it that is
 * safe to take while its owner edits it, or plays tricks with it. `treeVersion` is on the path of a
 * cold start: synchronous, a few system calls per file, no file opened.
 */

import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync } from "node:fs";
import { chmodSync, fchmodSync, readdirSync, readlinkSync, readSync, writeSync } from "node:fs";
import { errnoNameOf } from "../common/errors.ts";
import { CODE_DEPTH_MAX, CODE_ENTRIES_MAX, CODE_MAX_BYTES } from "../common/limits.ts";
import { invalidCode, isLeftOut, quoted } from "./code-path.ts";

/** Version of a directory of code. */
export interface TreeVersion {
  /** Changes with every write, rename, addition and removal. */
  readonly id: string;
  /** Newest change time of any file in it, in milliseconds since 1970. */
  readonly changedMs: number;
  readonly sizeBytes: number;
}

const BIGINT = { bigint: true, throwIfNoEntry: false } as const;

/**
 * @param root directory (a link to one is followed: the registry's owner made it)
 * @returns its version, or null where there is no such directory
 * @throws {OlError} bundle_invalid where it has too many entries or levels
 */
export function treeVersion(root: string): TreeVersion | null {
  const hash = createHash("sha256");
  let entries = 0;
  let changedNs = 0n;
  let sizeBytes = 0n;
  const visit = (dir: string, prefix: string, depth: number): boolean => {
    if (depth > CODE_DEPTH_MAX) throw tooDeep();
    const names = namesIn(dir);
    if (names === null) return false;
    for (const name of names) {
      if (isLeftOut(name)) continue;
      if (++entries > CODE_ENTRIES_MAX) throw tooMany();
      const path = `${dir}/${name}`;
      const stat = lstatSync(path, BIGINT);
      // Gone since the directory was read: the version that has it never existed as a whole.
      if (stat === undefined) continue;
      const isDirectory = stat.isDirectory();
      hash.update(
        isDirectory
          ? `${prefix}${name}/\0${stat.ino}\n`
          : `${prefix}${name}\0${stat.mode}\0${stat.size}\0${stat.mtimeNs}\0${stat.ctimeNs}\0${stat.ino}\n`,
      );
      if (isDirectory) {
        visit(path, `${prefix}${name}/`, depth + 1);
        continue;
      }
      sizeBytes += stat.size;
      if (stat.ctimeNs > changedNs) changedNs = stat.ctimeNs;
    }
    return true;
  };
  if (!visit(root, "", 1)) return null;
  return {
    id: `d-${hash.digest("hex").slice(0, 40)}`,
    changedMs: Number(changedNs / 1_000_000n),
    sizeBytes: Number(sizeBytes),
  };
}

function namesIn(dir: string): string[] | null {
  try {
    return readdirSync(dir).toSorted();
  } catch (error) {
    const errno = errnoNameOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return null;
    throw error;
  }
}

/** What a copy took along. */
export interface TreeSummary {
  readonly files: number;
  readonly directories: number;
  readonly sizeBytes: number;
}

/** Linux: opens a name without the right to read it, so that opening a device or FIFO does nothing. */
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const COPY_BUFFER_BYTES = 256 * 1024;
/** After so many bytes other work of the process gets its turn. */
const YIELD_EVERY_BYTES = 4 * 1024 * 1024;
const YIELD_EVERY_ENTRIES = 128;

/**
 * Copies a directory of code: regular files (0644, or 0755 where executable) and directories (0755).
 * A link is replaced by what it points to where that lies in the directory; a dangling one (editors
 * leave such as locks) is left out.
 *
 * Safe against an owner who swaps names meanwhile: each file is opened without following the
 * promise of an earlier look, and read only if the open descriptor itself lies below the root.
 *
 * @param root directory to copy
 * @param destDir existing, empty directory
 * @returns how much it was
 * @throws {OlError} bundle_invalid: links out of it, devices, too many entries or bytes
 */
export async function copyTree(root: string, destDir: string): Promise<TreeSummary> {
  const rootFd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC);
  try {
    const copier = new TreeCopier(readlinkSync(fdPath(rootFd)));
    await copier.directory(rootFd, destDir, "", []);
    chmodSync(destDir, 0o755);
    return copier.summary();
  } finally {
    closeSync(rootFd);
  }
}

function fdPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

class TreeCopier {
  readonly #rootPath: string;
  readonly #buffer = new Uint8Array(COPY_BUFFER_BYTES);
  #files = 0;
  #directories = 0;
  #sizeBytes = 0;
  #yieldBytes = 0;

  constructor(rootPath: string) {
    this.#rootPath = rootPath;
  }

  summary(): TreeSummary {
    return { files: this.#files, directories: this.#directories, sizeBytes: this.#sizeBytes };
  }

  /** @param above inode ids of this directory's ancestors: a link to one of them would never end */
  async directory(fd: number, dest: string, prefix: string, above: string[]): Promise<void> {
    const stat = fstatSync(fd, { bigint: true });
    const id = `${stat.dev}:${stat.ino}`;
    if (above.includes(id)) {
      throw invalidCode(
        `Cannot copy the lambda: link ${quoted(prefix)} points to a parent of itself`,
      );
    }
    if (above.length >= CODE_DEPTH_MAX) throw tooDeep();
    for (const name of readdirSync(fdPath(fd))) {
      if (isLeftOut(name)) continue;
      await this.#entry(fd, name, `${dest}/${name}`, `${prefix}${name}`, [...above, id]);
    }
  }

  async #entry(
    dirFd: number,
    name: string,
    dest: string,
    shown: string,
    above: string[],
  ): Promise<void> {
    if (this.#files + this.#directories >= CODE_ENTRIES_MAX) throw tooMany();
    const fd = openName(`${fdPath(dirFd)}/${name}`);
    if (fd === null) return;
    try {
      this.#requireInside(fd, shown);
      const stat = fstatSync(fd);
      if (stat.isDirectory()) {
        this.#directories++;
        mkdirSync(dest, { mode: 0o755 });
        chmodSync(dest, 0o755);
        await this.directory(fd, dest, `${shown}/`, above);
      } else if (stat.isFile()) {
        this.#files++;
        await this.#file(fd, dest, (stat.mode & 0o111) !== 0);
      } else {
        throw invalidCode(
          `Cannot copy the lambda: ${quoted(shown)} is neither a file nor a directory`,
        );
      }
    } finally {
      closeSync(fd);
    }
  }

  #requireInside(fd: number, shown: string): void {
    if (readlinkSync(fdPath(fd)).startsWith(`${this.#rootPath}/`)) return;
    if (readlinkSync(fdPath(fd)) === this.#rootPath) return;
    throw invalidCode(
      `Cannot copy the lambda: ${quoted(shown)} is a link that leaves the lambda's directory`,
    );
  }

  async #file(pathFd: number, dest: string, executable: boolean): Promise<void> {
    const mode = executable ? 0o755 : 0o644;
    // Opening through /proc opens exactly the inode that was checked.
    const from = openSync(fdPath(pathFd), constants.O_RDONLY | constants.O_NONBLOCK | O_CLOEXEC);
    try {
      const to = openSync(dest, "wx", mode);
      try {
        fchmodSync(to, mode);
        await this.#bytes(from, to);
      } finally {
        closeSync(to);
      }
    } finally {
      closeSync(from);
    }
  }

  async #bytes(from: number, to: number): Promise<void> {
    for (;;) {
      const length = readSync(from, this.#buffer, 0, COPY_BUFFER_BYTES, null);
      if (length === 0) break;
      this.#sizeBytes += length;
      this.#yieldBytes += length;
      if (this.#sizeBytes > CODE_MAX_BYTES) {
        throw invalidCode(`Cannot copy the lambda: it has more than ${CODE_MAX_BYTES} bytes`);
      }
      for (let offset = 0; offset < length;) {
        offset += writeSync(to, this.#buffer, offset, length - offset);
      }
      if (this.#yieldBytes >= YIELD_EVERY_BYTES) await this.#giveWay();
    }
    if (this.#files % YIELD_EVERY_ENTRIES === 0) await this.#giveWay();
  }

  async #giveWay(): Promise<void> {
    this.#yieldBytes = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Null for what is gone or dangling. */
function openName(path: string): number | null {
  try {
    return openSync(path, O_PATH | O_CLOEXEC);
  } catch (error) {
    const errno = errnoNameOf(error);
    if (errno === "ENOENT") return null;
    if (errno === "ELOOP")
      throw invalidCode("Cannot copy the lambda: its links form a loop", error);
    throw error;
  }
}

function tooMany(): Error {
  return invalidCode(
    `Cannot copy the lambda: it has more than ${CODE_ENTRIES_MAX} files and directories`,
  );
}

function tooDeep(): Error {
  return invalidCode(`Cannot copy the lambda: it has more than ${CODE_DEPTH_MAX} levels`);
}
