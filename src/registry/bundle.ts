/**
 * Bundles (`.tar.gz`) in and out. A bundle is hostile: node-tar only parses it here, and what is
 * written is decided and written by this file, so that a link, a device, a setuid bit, a path out of
 * the bundle or a bomb never reaches the file system. A refused bundle leaves nothing behind.
 */

import { closeSync, constants, createReadStream, mkdirSync, mkdtempSync, openSync } from "node:fs";
import { chmodSync, fchmodSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { createGunzip } from "node:zlib";
import { Parser, type ReadEntry } from "tar";
import { OlError } from "../common/errors.ts";
import {
  BUNDLE_MAX_BYTES,
  BUNDLE_PADDING_MAX_BYTES,
  BUNDLE_RATIO_FREE_BYTES,
  BUNDLE_RATIO_MAX,
  CODE_ENTRIES_MAX,
  CODE_MAX_BYTES,
} from "../common/limits.ts";
import { codePathParts, HANDLER_FILE, invalidCode, quoted } from "./code-path.ts";

/** Bounds of one bundle; the defaults are the rows of `common/limits.ts`. */
export interface BundleLimits {
  readonly packedMaxBytes: number;
  readonly unpackedMaxBytes: number;
  readonly entriesMax: number;
}

const DEFAULT_LIMITS: BundleLimits = {
  packedMaxBytes: BUNDLE_MAX_BYTES,
  unpackedMaxBytes: CODE_MAX_BYTES,
  entriesMax: CODE_ENTRIES_MAX,
};

/** What a bundle held. */
export interface BundleSummary {
  readonly files: number;
  readonly directories: number;
  readonly unpackedBytes: number;
}

const READ_CHUNK_BYTES = 64 * 1024;
const FILE_TYPES: ReadonlySet<string> = new Set(["File", "OldFile", "ContiguousFile"]);
const CREATE_FLAGS =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Unpacks a bundle into a directory: regular files (0644, or 0755 where executable) and directories
 * (0755) only. All or nothing: it is unpacked beside `destDir`, which it then replaces by a rename.
 *
 * @param bundlePath the `.tar.gz`
 * @param destDir existing, empty directory
 * @param limits bounds; default: those of `common/limits.ts`
 * @returns what was in it
 * @throws {OlError} bundle_invalid
 */
export async function unpackBundle(
  bundlePath: string,
  destDir: string,
  limits: BundleLimits = DEFAULT_LIMITS,
): Promise<BundleSummary> {
  const packedBytes = statSync(bundlePath).size;
  if (packedBytes > limits.packedMaxBytes) {
    throw invalidCode(
      `Cannot use the bundle: it has ${packedBytes} bytes, at most ${limits.packedMaxBytes} are allowed`,
    );
  }
  const tempDir = mkdtempSync(`${destDir}~unpack-`);
  const extractor = new Extractor(tempDir, limits);
  try {
    await feed(bundlePath, packedBytes, extractor, limits);
    const summary = extractor.finish();
    // The parser does not tell the end of an empty last file.
    extractor.close();
    chmodSync(tempDir, 0o755);
    renameSync(tempDir, destDir);
    return summary;
  } catch (error) {
    extractor.close();
    rmSync(tempDir, { recursive: true, force: true });
    throw error;
  }
}

/** Inflates the bundle off the main thread, counts what comes out, hands it to the extractor. */
async function feed(
  bundlePath: string,
  packedBytes: number,
  extractor: Extractor,
  limits: BundleLimits,
): Promise<void> {
  const source = createReadStream(bundlePath, { highWaterMark: READ_CHUNK_BYTES });
  const gunzip = createGunzip({ chunkSize: READ_CHUNK_BYTES });
  source.on("error", (error) => gunzip.destroy(error));
  // Headers count as well: at most one block per entry, and one for the padding of its body.
  const inflatedMax = limits.unpackedMaxBytes + 1024 * limits.entriesMax + BUNDLE_PADDING_MAX_BYTES;
  let inflated = 0;
  try {
    for await (const chunk of source.pipe(gunzip) as AsyncIterable<Buffer>) {
      if (inflated === 0) refuseNestedArchive(chunk);
      inflated += chunk.length;
      if (inflated > inflatedMax) throw tooLarge(limits);
      if (inflated > BUNDLE_RATIO_FREE_BYTES && inflated > packedBytes * BUNDLE_RATIO_MAX) {
        throw invalidCode(
          `Cannot use the bundle: it inflates to more than ${BUNDLE_RATIO_MAX} times its packed size`,
        );
      }
      extractor.write(chunk);
    }
  } catch (error) {
    if (error instanceof OlError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw invalidCode(`Cannot use the bundle: it is not a whole .tar.gz file (${why})`, error);
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

/** node-tar would open a compressed archive inside the compressed one by itself. */
function refuseNestedArchive(chunk: Buffer): void {
  if (chunk[0] === 0x1f && chunk[1] === 0x8b) {
    throw invalidCode("Cannot use the bundle: it is compressed twice, wanted one .tar.gz");
  }
}

function tooLarge(limits: BundleLimits): OlError {
  return invalidCode(
    `Cannot use the bundle: it unpacks to more than ${limits.unpackedMaxBytes} bytes`,
  );
}

/**
 * Writes the entries of one archive below a directory that nobody else can touch. All writes are
 * synchronous inside the parser's events, so nothing can land after a refusal.
 */
class Extractor {
  readonly #root: string;
  readonly #limits: BundleLimits;
  readonly #parser: Parser;
  readonly #directories = new Set<string>();
  readonly #files = new Set<string>();
  #entries = 0;
  #unpackedBytes = 0;
  #paddingBytes = 0;
  #ended = false;
  #failure: OlError | null = null;
  #openFd: number | null = null;

  constructor(root: string, limits: BundleLimits) {
    this.#root = root;
    this.#limits = limits;
    this.#parser = new Parser({ strict: true, zstd: false, brotli: false });
    this.#parser.on("entry", (entry: ReadEntry) => this.#guard(() => this.#entry(entry)));
    this.#parser.on("meta", () => this.#guard(() => this.#count()));
    this.#parser.on("ignoredEntry", () =>
      this.#fail(
        invalidCode("Cannot use the bundle: it has an entry of a kind that is not allowed"),
      ),
    );
    this.#parser.on("eof", () => {
      this.#ended = true;
    });
    this.#parser.on("error", (error: Error) =>
      this.#fail(
        invalidCode(
          `Cannot use the bundle: it is not a whole tar archive (${error.message})`,
          error,
        ),
      ),
    );
  }

  /**
   * @param chunk next bytes of the inflated archive
   * @throws {OlError} bundle_invalid
   */
  write(chunk: Buffer): void {
    if (this.#ended) {
      this.#paddingBytes += chunk.length;
      if (this.#paddingBytes > BUNDLE_PADDING_MAX_BYTES) {
        this.#fail(invalidCode("Cannot use the bundle: data follows the end of the archive"));
      }
    } else {
      this.#parser.write(chunk);
    }
    this.#rethrow();
  }

  /**
   * @returns what was written
   * @throws {OlError} bundle_invalid where the archive is truncated or holds no handler
   */
  finish(): BundleSummary {
    if (!this.#ended) this.#parser.end();
    this.#rethrow();
    if (!this.#files.has(HANDLER_FILE)) throw this.#noHandler();
    return {
      files: this.#files.size,
      directories: this.#directories.size,
      unpackedBytes: this.#unpackedBytes,
    };
  }

  #noHandler(): OlError {
    const nested = [...this.#files].find((file) => file.endsWith(`/${HANDLER_FILE}`));
    const hint =
      nested === undefined ? "" : `, found ${quoted(nested)}: pack the files, not their directory`;
    return invalidCode(`Cannot use the bundle: it has no ${HANDLER_FILE} at its top${hint}`);
  }

  #rethrow(): void {
    if (this.#failure === null) return;
    this.close();
    throw this.#failure;
  }

  #fail(error: OlError): void {
    this.#failure ??= error;
  }

  /** An exception must not travel through node-tar and zlib, whose state it would tear. */
  #guard(step: () => void): void {
    if (this.#failure !== null) return;
    try {
      step();
    } catch (error) {
      this.#fail(
        error instanceof OlError
          ? error
          : invalidCode("Cannot use the bundle: its files cannot be written", error),
      );
    }
  }

  #count(): void {
    if (++this.#entries > this.#limits.entriesMax) throw this.#tooMany();
  }

  #tooMany(): OlError {
    return invalidCode(
      `Cannot use the bundle: it has more than ${this.#limits.entriesMax} entries`,
    );
  }

  #entry(entry: ReadEntry): void {
    // An entry that is not read would stop the parser.
    entry.on("data", (chunk) => this.#guard(() => this.#data(chunk)));
    entry.on("end", () => this.close());
    this.#count();
    const parts = codePathParts(entry.path);
    if (entry.type === "Directory") return this.#makeDirectory(parts);
    if (!FILE_TYPES.has(entry.type)) {
      throw invalidCode(
        `Cannot use the bundle: entry ${quoted(entry.path)} is a ${entry.type}, ` +
          "only files and directories are allowed",
      );
    }
    if (parts.length === 0) throw invalidCode("Cannot use the bundle: a file has no name");
    if (this.#unpackedBytes + entry.size > this.#limits.unpackedMaxBytes) {
      throw tooLarge(this.#limits);
    }
    this.#createFile(parts, ((entry.mode ?? 0) & 0o111) !== 0);
  }

  #makeDirectory(parts: readonly string[]): void {
    let path = "";
    for (const part of parts) {
      path = path === "" ? part : `${path}/${part}`;
      if (this.#directories.has(path)) continue;
      if (this.#files.has(path)) throw duplicate(path);
      // Directories that only a path implies are entries as well.
      if (this.#directories.size + this.#files.size >= this.#limits.entriesMax)
        throw this.#tooMany();
      mkdirSync(join(this.#root, path), { mode: 0o755 });
      chmodSync(join(this.#root, path), 0o755);
      this.#directories.add(path);
    }
  }

  #createFile(parts: readonly string[], executable: boolean): void {
    const path = parts.join("/");
    if (this.#files.has(path) || this.#directories.has(path)) throw duplicate(path);
    const parent = dirname(path);
    if (parent !== ".") this.#makeDirectory(parts.slice(0, -1));
    this.close();
    const mode = executable ? 0o755 : 0o644;
    this.#openFd = openSync(join(this.#root, path), CREATE_FLAGS, mode);
    // The umask of whoever started us must not decide whether a lambda can read its own code.
    fchmodSync(this.#openFd, mode);
    this.#files.add(path);
  }

  #data(chunk: Buffer): void {
    if (this.#openFd === null) return;
    this.#unpackedBytes += chunk.length;
    if (this.#unpackedBytes > this.#limits.unpackedMaxBytes) throw tooLarge(this.#limits);
    for (let offset = 0; offset < chunk.length;) {
      offset += writeSync(this.#openFd, chunk, offset, chunk.length - offset);
    }
  }

  /** Closes the file that is being written, where there is one. */
  close(): void {
    if (this.#openFd !== null) closeSync(this.#openFd);
    this.#openFd = null;
  }
}

function duplicate(path: string): OlError {
  return invalidCode(`Cannot use the bundle: ${quoted(path)} is in it twice`);
}
