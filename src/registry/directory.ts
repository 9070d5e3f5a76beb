/**
 * The local registry: `<dir>/<NAME>/` with `lambda_func.py`, or `<dir>/<NAME>.tar.gz`. Writing the
 * files creates the lambda. Where both are there the directory counts, so that an upload can put its
 * bundle in place first and move the old directory aside afterwards, without a moment in between. That
 * directory is somebody's work, so it is kept, under a name that no lambda has.
 */

import { closeSync, constants, copyFileSync, fsyncSync, lstatSync, mkdirSync } from "node:fs";
import {
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { writeSync } from "node:fs";
import { join } from "node:path";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { CODE_COPY_TRIES_MAX, FILE_TIME_TICK_MS } from "../common/limits.ts";
import { isLambdaName, requireLambdaName } from "../common/names.ts";
import { unpackBundle } from "./bundle.ts";
import { HANDLER_FILE, invalidCode } from "./code-path.ts";
import type {
  Registry,
  RegistryEntry,
  RegistryVersion,
  RegistryWriter,
  UploadedVersion,
  UploadProgress,
} from "./contract.ts";
import { copyTree, treeVersion } from "./tree.ts";

/** Ending of a bundle in the local registry. */
const BUNDLE_SUFFIX = ".tar.gz";

/** Marks files in the making; no lambda name holds this character. */
const TEMP_MARK = "~";
const COPY_CHUNK_BYTES = 1024 * 1024;
const NO_ENTRY = { bigint: true, throwIfNoEntry: false } as const;

interface Found {
  readonly kind: "directory" | "bundle";
  readonly path: string;
  readonly id: string;
  readonly changedMs: number;
  readonly sizeBytes: number;
}

/** Lambdas as directories and bundles below one directory. */
export class DirectoryRegistry implements Registry, RegistryWriter {
  readonly #dir: string;

  /** @param dir absolute path of `registry_dir` */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /** @see Registry.resolve; the file system is asked synchronously: this is part of a cold start */
  async resolve(name: string): Promise<RegistryVersion | null> {
    if (!isLambdaName(name)) return null;
    const found = this.#find(name);
    return found === null ? null : { id: found.id };
  }

  /** @see Registry.pull */
  async pull(name: string, _version: RegistryVersion, destDir: string): Promise<RegistryVersion> {
    requireLambdaName(name);
    for (let attempt = 1; attempt <= CODE_COPY_TRIES_MAX; attempt++) {
      const found = this.#find(name);
      if (found === null) throw unknownLambda(name);
      await untilTimesTell(found.changedMs);
      const failure = await attemptCopy(found, destDir);
      // Only a copy that nothing changed under is the version that its id says.
      if (this.#find(name)?.id === found.id) {
        if (failure === null) return { id: found.id };
        emptyDirectory(destDir);
        throw failure;
      }
      emptyDirectory(destDir);
    }
    throw new OlError(
      "registry_unavailable",
      `Cannot copy lambda "${name}": its files changed during each of ${CODE_COPY_TRIES_MAX} copies`,
      { op: "registry.pull", retryable: true },
    );
  }

  /** @see Registry.list */
  async list(): Promise<readonly RegistryEntry[]> {
    const names = new Set<string>();
    for (const entry of guarded("list the registry", () => readdirSync(this.#dir))) {
      names.add(entry);
      if (entry.endsWith(BUNDLE_SUFFIX)) names.add(entry.slice(0, -BUNDLE_SUFFIX.length));
    }
    const entries: RegistryEntry[] = [];
    for (const name of [...names].toSorted()) {
      const found = isLambdaName(name) ? this.#find(name) : null;
      if (found === null) continue;
      entries.push({
        name,
        version: found.id,
        sizeBytes: found.sizeBytes,
        modifiedMs: found.changedMs,
      });
    }
    return entries;
  }

  /** @see RegistryWriter.put */
  async put(
    name: string,
    bundlePath: string,
    onProgress?: UploadProgress,
  ): Promise<UploadedVersion> {
    requireLambdaName(name);
    const temp = join(this.#dir, `${name}${TEMP_MARK}${crypto.randomUUID()}`);
    const dest = join(this.#dir, name + BUNDLE_SUFFIX);
    const keptDir = guarded("write to the registry", () => {
      try {
        copyDurably(bundlePath, temp, onProgress);
        renameSync(temp, dest);
      } finally {
        rmSync(temp, { force: true });
      }
      const kept = this.#setAside(name);
      syncDirectory(this.#dir);
      return kept;
    });
    const found = this.#find(name);
    if (found === null) throw unknownLambda(name);
    return { id: found.id, ...(keptDir === null ? {} : { keptDir }) };
  }

  /** @see RegistryWriter.remove */
  async remove(name: string): Promise<boolean> {
    requireLambdaName(name);
    return guarded("remove from the registry", () => {
      const hadBundle =
        lstatSync(join(this.#dir, name + BUNDLE_SUFFIX), NO_ENTRY)?.isFile() === true;
      if (hadBundle) rmSync(join(this.#dir, name + BUNDLE_SUFFIX));
      const hadDirectory = this.#takeAway(name);
      syncDirectory(this.#dir);
      return hadBundle || hadDirectory;
    });
  }

  /** @returns where a directory of that name is now; a link to one is only taken away */
  #setAside(name: string): string | null {
    const path = join(this.#dir, name);
    if (lstatSync(path, NO_ENTRY)?.isDirectory() !== true) {
      this.#takeAway(name);
      return null;
    }
    const kept = `${path}${TEMP_MARK}replaced-${new Date().toISOString()}`;
    renameSync(path, kept);
    return kept;
  }

  /** Renames first: a lambda must vanish at once, not file by file. A link is removed, not its target. */
  #takeAway(name: string): boolean {
    const path = join(this.#dir, name);
    const stat = lstatSync(path, NO_ENTRY);
    if (stat === undefined || stat.isFile()) return false;
    const away = mkdtempSync(`${path}${TEMP_MARK}`);
    renameSync(path, join(away, name));
    rmSync(away, { recursive: true, force: true });
    return true;
  }

  #find(name: string): Found | null {
    const path = `${this.#dir}/${name}`;
    return guarded(`look up lambda "${name}"`, () => {
      const tree = treeVersion(path);
      if (tree !== null) return { kind: "directory", path, ...tree };
      const bundle = path + BUNDLE_SUFFIX;
      const stat = lstatSync(bundle, NO_ENTRY);
      if (stat?.isFile() !== true) return null;
      return {
        kind: "bundle",
        path: bundle,
        id: `t-${stat.size.toString(36)}-${stat.mtimeNs.toString(36)}-${stat.ctimeNs.toString(36)}-${stat.ino.toString(36)}`,
        changedMs: Number(stat.ctimeNs / 1_000_000n),
        sizeBytes: Number(stat.size),
      };
    });
  }
}

/**
 * File times advance in ticks: a write within the tick of the one before it leaves no trace in them.
 * Waiting a tick makes sure that any write after the copy began is seen.
 */
async function untilTimesTell(changedMs: number): Promise<void> {
  const ageMs = Date.now() - changedMs;
  if (ageMs >= 0 && ageMs < FILE_TIME_TICK_MS) await Bun.sleep(FILE_TIME_TICK_MS - ageMs);
}

async function attemptCopy(found: Found, destDir: string): Promise<unknown> {
  try {
    if (found.kind === "bundle") await unpackSnapshot(found.path, destDir);
    else await copyWithHandler(found.path, destDir);
    return null;
  } catch (error) {
    return error instanceof OlError ? error : accessError("copy the lambda", error);
  }
}

async function copyWithHandler(path: string, destDir: string): Promise<void> {
  await copyTree(path, destDir);
  if (statSync(join(destDir, HANDLER_FILE), NO_ENTRY)?.isFile() === true) return;
  throw invalidCode(`Cannot load the lambda: its directory holds no file ${HANDLER_FILE}`);
}

/** A bundle that is overwritten in place while it is read would look broken: read a copy of it. */
async function unpackSnapshot(path: string, destDir: string): Promise<void> {
  const snapshot = `${destDir}${TEMP_MARK}bundle-${crypto.randomUUID()}`;
  try {
    copyFileSync(path, snapshot, constants.COPYFILE_FICLONE);
    await unpackBundle(snapshot, destDir);
  } finally {
    rmSync(snapshot, { force: true });
  }
}

function emptyDirectory(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { mode: 0o755 });
}

function copyDurably(source: string, dest: string, onProgress?: UploadProgress): void {
  const from = openSync(source, "r");
  try {
    const to = openSync(dest, "wx", 0o644);
    try {
      const totalBytes = statSync(source).size;
      const buffer = new Uint8Array(COPY_CHUNK_BYTES);
      let sentBytes = 0;
      for (;;) {
        const length = readSync(from, buffer, 0, COPY_CHUNK_BYTES, null);
        if (length === 0) break;
        for (let offset = 0; offset < length;) {
          offset += writeSync(to, buffer, offset, length - offset);
        }
        sentBytes += length;
        onProgress?.(sentBytes, totalBytes);
      }
      fsyncSync(to);
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

function syncDirectory(dir: string): void {
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function unknownLambda(name: string): OlError {
  return new OlError("lambda_unknown", `Cannot find lambda "${name}" in the registry`, {
    op: "registry.pull",
  });
}

function guarded<T>(doing: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof OlError) throw error;
    throw accessError(doing, error);
  }
}

/** The path stays in the cause: messages can reach clients. */
function accessError(doing: string, cause: unknown): OlError {
  const errno = errnoNameOf(cause) ?? "unexpected failure";
  const denied = errno === "EACCES" || errno === "EPERM";
  return new OlError(
    denied ? "registry_denied" : "registry_unavailable",
    `Cannot ${doing}: ${errno}`,
    { op: "registry.directory", cause, retryable: !denied },
  );
}
