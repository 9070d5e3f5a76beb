/**
 * Unpacks a root file system from a tar stream: a `.tar`, `.tar.gz` or `.tar.zst` file, or what
 * Docker exports. node-tar parses; `RootWriter` decides where bytes may go, because node-tar's own
 * unpacking rewrites absolute links, which a root file system needs as they are.
 */

import { createReadStream } from "node:fs";
import { Parser, type ReadEntry } from "tar";
import { OlError } from "../common/errors.ts";
import type { OpenFile, RootWriter } from "./root-writer.ts";

/** Directories of a running system: their contents belong to it and not to the image. */
const RUNTIME_DIRS = new Set(["proc", "sys", "dev", "run", "tmp"]);

/**
 * @param path name inside a root file system, absolute or not
 * @returns whether it lies in a directory whose contents are made at run time
 */
export function isRuntimePath(path: string): boolean {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  return (parts.length > 1 && RUNTIME_DIRS.has(parts[0] ?? "")) || parts[0] === ".dockerenv";
}

/**
 * Unpacks a file.
 * @param file tar, tar.gz or tar.zst on the host
 * @throws {OlError} base_invalid
 */
export async function unpackTarFile(
  file: string,
  writer: RootWriter,
  signal: AbortSignal | undefined,
): Promise<void> {
  await unpackTarStream(createReadStream(file), file, writer, signal);
}

/**
 * Unpacks a stream.
 * @param stream bytes of a tar archive, compressed or not
 * @param source what it is, for messages
 * @throws {OlError} base_invalid where it is truncated, not a tar archive, or leads out of the root
 */
export async function unpackTarStream(
  stream: AsyncIterable<Uint8Array>,
  source: string,
  writer: RootWriter,
  signal: AbortSignal | undefined,
): Promise<void> {
  const parser = new Parser({ strict: true });
  const state: { failure: unknown; complete: boolean } = { failure: null, complete: false };
  parser.on("error", (error) => {
    state.failure ??= error;
  });
  parser.on("eof", () => {
    state.complete = true;
  });
  parser.on("entry", (entry: ReadEntry) => {
    unpackEntry(entry, writer, state);
  });
  const ended = new Promise<void>((resolve) => {
    parser.on("end", resolve);
    parser.on("abort", () => resolve());
    parser.on("error", () => resolve());
  });
  try {
    // Entries are written synchronously as they are parsed, so nothing piles up between the two.
    for await (const chunk of stream) {
      signal?.throwIfAborted();
      // The parser reads headers with methods that only a Buffer has.
      parser.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      if (state.failure !== null) break;
    }
    if (state.failure === null) {
      parser.end();
      await ended;
    }
  } catch (cause) {
    state.failure ??= cause;
  }
  signal?.throwIfAborted();
  if (state.failure !== null) throw asInvalid(state.failure, source);
  if (!state.complete) throw asInvalid(new Error("it ends in the middle"), source);
}

/** Writes one entry; whatever goes wrong is kept, because an event handler must not throw. */
function unpackEntry(entry: ReadEntry, writer: RootWriter, state: { failure: unknown }): void {
  const guarded = (step: () => void): void => {
    if (state.failure !== null) return;
    try {
      step();
    } catch (error) {
      state.failure = error;
    }
  };
  let file: OpenFile | undefined;
  guarded(() => {
    file = openEntry(entry, writer);
  });
  entry.on("data", (chunk: Buffer) => guarded(() => file?.write(chunk)));
  entry.on("end", () => guarded(() => file?.close()));
}

/** Regular files by the names that tar has given them. */
const FILE_TYPES: ReadonlySet<string> = new Set(["File", "OldFile", "ContiguousFile"]);

/** Left out: a base has no devices, its `/dev` is made for each sandbox. */
const SKIPPED_TYPES: ReadonlySet<string> = new Set(["CharacterDevice", "BlockDevice", "FIFO"]);

function openEntry(entry: ReadEntry, writer: RootWriter): OpenFile | undefined {
  const { path, type } = entry;
  if (isRuntimePath(path) || SKIPPED_TYPES.has(type)) return undefined;
  if (FILE_TYPES.has(type)) return writer.file(path, entry.mode ?? 0o644, entry.mtime);
  if (type === "Directory") writer.directory(path, entry.mode ?? 0o755);
  else if (type === "SymbolicLink") writer.symlink(path, entry.linkpath ?? "");
  else if (type === "Link") writer.hardLink(path, entry.linkpath ?? "");
  else throw new Error(`its entry ${JSON.stringify(path)} is of the type ${type}`);
  return undefined;
}

function asInvalid(cause: unknown, source: string): OlError {
  if (cause instanceof OlError) return cause;
  const words = cause instanceof Error ? cause.message : String(cause);
  return new OlError(
    "base_invalid",
    `Cannot make a base from ${JSON.stringify(source)}: ${words}, wanted a whole tar archive of a root file system`,
    { op: "base.create", cause },
  );
}
