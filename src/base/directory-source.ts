/** Copies a root file system from a directory of the host, such as one made by debootstrap. */

import { closeSync, lstatSync, openSync, readSync, readdirSync, readlinkSync } from "node:fs";
import { relative, resolve } from "node:path";
import { OlError } from "../common/errors.ts";
import type { RootWriter } from "./root-writer.ts";
import { isRuntimePath } from "./tar-source.ts";

const COPY_CHUNK_BYTES = 1024 * 1024;

/**
 * @param from directory to copy; links in it are copied, not followed
 * @param writer where to
 * @throws {OlError} base_invalid where it is not a directory or holds the base that is being made
 */
export async function copyDirectory(
  from: string,
  writer: RootWriter,
  signal: AbortSignal | undefined,
): Promise<void> {
  const top = resolve(from);
  if (lstatSync(top, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw invalid(from, "it is not a directory, wanted the root of a file system");
  }
  if (!relative(top, writer.root).startsWith("..")) {
    throw invalid(from, `the base is to be made inside it, in ${JSON.stringify(writer.root)}`);
  }
  const copier = new Copier(top, writer);
  let steps = 0;
  for (const _ of copier.copy("")) {
    signal?.throwIfAborted();
    steps += 1;
    // Lets signals and progress through on large trees without a promise for every file.
    if (steps % 1000 === 0) await new Promise<void>((next) => void setImmediate(next));
  }
}

class Copier {
  readonly #top: string;
  readonly #writer: RootWriter;
  readonly #buffer = Buffer.alloc(COPY_CHUNK_BYTES);
  /** Files with several names, by device and inode: the first name that was copied. */
  readonly #copied = new Map<string, string>();

  constructor(top: string, writer: RootWriter) {
    this.#top = top;
    this.#writer = writer;
  }

  /** Copies what is below `dir`, yielding after each entry. */
  *copy(dir: string): Generator<void> {
    for (const name of readdirSync(`${this.#top}/${dir}`)) {
      const path = dir === "" ? name : `${dir}/${name}`;
      if (isRuntimePath(path)) continue;
      const host = `${this.#top}/${path}`;
      const stat = lstatSync(host);
      if (stat.isDirectory()) {
        this.#writer.directory(path, stat.mode);
        yield* this.copy(path);
      } else if (stat.isSymbolicLink()) {
        this.#writer.symlink(path, readlinkSync(host));
      } else if (stat.isFile()) {
        const key = `${stat.dev}:${stat.ino}`;
        const first = stat.nlink > 1 ? this.#copied.get(key) : undefined;
        if (first !== undefined) {
          this.#writer.hardLink(path, first);
        } else {
          if (stat.nlink > 1) this.#copied.set(key, path);
          this.#copyFile(host, path, stat.mode, stat.mtime);
        }
      }
      yield;
    }
  }

  #copyFile(host: string, path: string, mode: number, mtime: Date): void {
    const from = openSync(host, "r");
    try {
      const to = this.#writer.file(path, mode, mtime);
      for (;;) {
        const count = readSync(from, this.#buffer);
        if (count === 0) break;
        to.write(this.#buffer.subarray(0, count));
      }
      to.close();
    } finally {
      closeSync(from);
    }
  }
}

function invalid(from: string, state: string): OlError {
  return new OlError("base_invalid", `Cannot make a base from ${JSON.stringify(from)}: ${state}`, {
    op: "base.create",
  });
}
