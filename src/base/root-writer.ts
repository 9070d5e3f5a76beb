/**
 * Writes a root file system below one directory without ever leaving it. Links in an image may be
 * absolute, because they are meant for the root they end up in: they are kept as they are and, where
 * a later path leads through one, resolved inside that root as `chroot` would.
 *
 * Everything becomes root's, without setuid bits, capabilities, devices, FIFOs and sockets: a base is
 * mounted read-only for unprivileged users, who need none of them.
 */

import {
  chmodSync,
  closeSync,
  fchmodSync,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { OlError, errnoNameOf } from "../common/errors.ts";
import { BASE_BYTES_MAX, BASE_ENTRIES_MAX, BASE_LINKS_FOLLOWED_MAX } from "../common/limits.ts";

/** A regular file that is being written. */
export interface OpenFile {
  write(chunk: Uint8Array): void;
  /** Sets mode and time; after this the file is final. */
  close(): void;
}

/** Writes into one root directory; not for use while somebody else writes there. */
export class RootWriter {
  readonly root: string;
  readonly #source: string;
  /** Real directories below the root that were seen, by their host path. */
  readonly #directories = new Set<string>();
  #entries = 0;
  #bytes = 0;

  /**
   * @param root existing empty directory of the host
   * @param source what is being unpacked, for messages
   */
  constructor(root: string, source: string) {
    this.root = root;
    this.#source = source;
  }

  /** Bytes of file contents so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Makes a directory, or takes the one that is there, and sets its mode.
   * @throws {OlError} base_invalid
   */
  directory(path: string, mode: number): void {
    this.#count(0);
    const parts = this.#split(path);
    const target = this.#resolveDirectory(parts, path);
    // Root must be able to enter what it unpacks; only the permissions of others carry meaning.
    chmodSync(target, (mode & 0o1777) | 0o700);
  }

  /** As `directory`, but never through a link of that name: a link or file there is replaced. */
  realDirectory(path: string, mode: number): void {
    const target = this.#locate(path);
    const stat = lstatSync(target, { throwIfNoEntry: false });
    if (stat !== undefined && !stat.isDirectory()) unlinkSync(target);
    this.directory(path, mode);
  }

  /**
   * Opens a new regular file, in place of a file or link of that name.
   * @param mtime matters: compiled Python files are valid only for the time of their source
   * @throws {OlError} base_invalid
   */
  file(path: string, mode: number, mtime: Date | undefined): OpenFile {
    this.#count(0);
    const target = this.#vacate(path);
    const fd = openSync(target, "wx", 0o600);
    return {
      write: (chunk) => {
        this.#count(chunk.length, 0);
        for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done);
      },
      close: () => {
        fchmodSync(fd, mode & 0o777);
        if (mtime !== undefined) futimesSync(fd, mtime, mtime);
        closeSync(fd);
      },
    };
  }

  /** Makes a small file in one go; see `file`. */
  text(path: string, content: string, mode = 0o644): void {
    const file = this.file(path, mode, undefined);
    file.write(new TextEncoder().encode(content));
    file.close();
  }

  /**
   * Makes a symbolic link; its target is stored as it is and never followed here.
   * @throws {OlError} base_invalid
   */
  symlink(path: string, target: string): void {
    this.#count(0);
    symlinkSync(target, this.#vacate(path));
  }

  /**
   * Gives a file that was written before a second name.
   * @throws {OlError} base_invalid where the first name is not a file or link of this root
   */
  hardLink(path: string, existing: string): void {
    this.#count(0);
    const source = this.#locate(existing);
    const stat = lstatSync(source, { throwIfNoEntry: false });
    if (stat === undefined || stat.isDirectory()) {
      throw this.#invalid(
        `${quote(path)} is a link to ${quote(existing)}, which is not a file in it`,
      );
    }
    const target = this.#locate(path);
    if (target === source) return;
    linkSync(source, this.#vacate(path));
  }

  /** @returns whether something (a dangling link too) has that name */
  has(path: string): boolean {
    return lstatSync(this.#locate(path), { throwIfNoEntry: false }) !== undefined;
  }

  #count(bytes: number, entries = 1): void {
    this.#bytes += bytes;
    this.#entries += entries;
    if (this.#bytes > BASE_BYTES_MAX || this.#entries > BASE_ENTRIES_MAX) {
      throw this.#invalid(
        `it is larger than ${BASE_BYTES_MAX} bytes or ${BASE_ENTRIES_MAX} entries, the limit of a base`,
      );
    }
  }

  #split(path: string): string[] {
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.includes("..") || path.includes("\0")) {
      throw this.#invalid(`it has an entry named ${quote(path)}, which leads out of it`);
    }
    return parts;
  }

  /** The host path of an entry; its parents exist afterwards, itself is not followed. */
  #locate(path: string): string {
    const parts = this.#split(path);
    const name = parts.pop();
    if (name === undefined) throw this.#invalid(`it has an entry named ${quote(path)}`);
    return `${this.#resolveDirectory(parts, path)}/${name}`;
  }

  /** As `#locate`, with nothing there any more. */
  #vacate(path: string): string {
    const target = this.#locate(path);
    const stat = lstatSync(target, { throwIfNoEntry: false });
    if (stat === undefined) return target;
    if (!stat.isDirectory()) {
      unlinkSync(target);
      return target;
    }
    try {
      rmdirSync(target);
    } catch (cause) {
      if (errnoNameOf(cause) !== "ENOTEMPTY") throw cause;
      throw this.#invalid(`${quote(path)} is in it both as a directory and as something else`);
    }
    this.#directories.delete(target);
    return target;
  }

  /** Walks to a directory inside the root, making what is missing and following links as chroot does. */
  #resolveDirectory(parts: readonly string[], path: string): string {
    const direct = [this.root, ...parts].join("/");
    if (this.#directories.has(direct)) return direct;
    const pending = parts.toReversed();
    const done: string[] = [];
    let followed = 0;
    for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
      if (part === "..") {
        done.pop();
        continue;
      }
      const here = [this.root, ...done, part].join("/");
      const stat = this.#directories.has(here)
        ? "directory"
        : kindOf(lstatSync(here, { throwIfNoEntry: false }));
      if (stat === "link") {
        followed += 1;
        if (followed > BASE_LINKS_FOLLOWED_MAX) {
          throw this.#invalid(`the links on the way to ${quote(path)} go in a circle`);
        }
        const target = readlinkSync(here);
        if (target.startsWith("/")) done.length = 0;
        pending.push(
          ...target
            .split("/")
            .filter((it) => it !== "" && it !== ".")
            .toReversed(),
        );
        continue;
      }
      if (stat === "other") throw this.#invalid(`a file is on the way to ${quote(path)}`);
      if (stat === "missing") mkdirSync(here, 0o755);
      this.#directories.add(here);
      done.push(part);
    }
    return [this.root, ...done].join("/");
  }

  #invalid(state: string): OlError {
    return new OlError("base_invalid", `Cannot make a base from ${quote(this.#source)}: ${state}`, {
      op: "base.create",
    });
  }
}

const quote = (text: string): string =>
  JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);

function kindOf(stat: ReturnType<typeof lstatSync>): "missing" | "link" | "directory" | "other" {
  if (stat === undefined) return "missing";
  if (stat.isSymbolicLink()) return "link";
  return stat.isDirectory() ? "directory" : "other";
}
