/**
 * The packages directory: one subdirectory per installed artifact, shared by the workers of a cluster.
 *
 * | path | holds |
 * | --- | --- |
 * | `<name>-<version>-<digest>/` | an installed distribution; whole from the moment it has this name |
 * | `<…>/.package.json` | its `PackageRecord`, written by the worker |
 * | `.staging/<pid>-<start>-<x>/` | an installation under way; removed once its worker is gone |
 * | `.resolved/<digest>.json` | what a set of requirements came down to; whoever writes it first decides |
 *
 * Sandboxes see it read-only as `/packages`: they can pass through it but not list it, and not enter the two
 * directories with a dot.
 */

import { createHash } from "node:crypto";
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../cluster/atomic-file.ts";
import { isProcessAlive, tryIdentifyProcess } from "../cluster/process-identity.ts";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { INSTALLER_FILE_MAX_BYTES } from "../common/package-limits.ts";
import type { FrozenTree } from "./freeze.ts";
import type { Results } from "./results.ts";
import { tryReadUntrusted } from "./untrusted-file.ts";
import { moduleNames, recordPaths } from "./modules.ts";
import { normalizeName } from "./requirements.ts";
import type { Distribution } from "./report.ts";

/** What is known of an installed distribution. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  readonly modules: readonly string[];
  /** Modules worth importing where a lambda only named the distribution. */
  readonly imports: readonly string[];
  readonly sizeBytes: number;
  /** `.pth` files that it brought; none is honoured. */
  readonly pthFiles: readonly string[];
}

const RECORD_FILE = ".package.json";
const STAGING = ".staging";
const RESOLVED = ".resolved";
/** Part of an `__init__.py` that is searched for a namespace declaration, in bytes. */
const INIT_MAX_BYTES = 65_536;

/** The packages directory of one cluster, as one worker sees it. */
export class PackageStore {
  readonly dir: string;
  readonly #records = new Map<string, PackageRecord>();
  readonly #bootId: string;
  readonly #prefix: string;

  private constructor(dir: string) {
    const self = tryIdentifyProcess(process.pid);
    if (self === null) throw new OlError("internal", "Cannot identify this process in /proc");
    this.dir = dir;
    this.#bootId = self.bootId;
    this.#prefix = `${self.pid}-${self.startTicks}`;
  }

  /**
   * @param dir the packages dir, which exists
   * @returns the store, after what crashed workers left half-done was removed
   */
  static async open(dir: string): Promise<PackageStore> {
    const store = new PackageStore(dir);
    await chmod(dir, 0o711);
    for (const own of [STAGING, RESOLVED]) {
      await mkdir(join(dir, own), { recursive: true, mode: 0o700 });
      await chmod(join(dir, own), 0o700);
    }
    await store.#sweep();
    return store;
  }

  /** Removes staging directories of processes that are gone; another worker may be installing right now. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(join(this.dir, STAGING))) {
      const [pid = "", startTicks = ""] = name.split("-");
      const owner = { pid: Number(pid), startTicks, bootId: this.#bootId };
      if (`${pid}-${startTicks}` === this.#prefix || isProcessAlive(owner)) continue;
      await removeTree(join(this.dir, STAGING, name));
    }
  }

  /** @returns an empty directory that an unprivileged sandbox can write once it is mounted there */
  async createWorkDir(): Promise<string> {
    const path = await mkdtemp(join(this.dir, STAGING, `${this.#prefix}-`));
    // Nobody else reaches it: the directory above is root's alone.
    await chmod(path, 0o777);
    return path;
  }

  /** @param path what `createWorkDir` returned */
  async destroyWorkDir(path: string): Promise<void> {
    await removeTree(path);
  }

  /**
   * @param dir name below the packages dir
   * @returns what is known of it, or null where it is not installed
   */
  async tryRead(dir: string): Promise<PackageRecord | null> {
    const known = this.#records.get(dir);
    if (known !== undefined) {
      const there = await lstat(join(this.dir, dir)).catch(() => null);
      if (there !== null) return known;
      this.#records.delete(dir);
    }
    const record = await tryReadRecord(join(this.dir, dir));
    if (record !== null) this.#records.set(dir, record);
    return record;
  }

  /**
   * Takes an installed distribution over, in one step.
   * @param one which it is
   * @param results where an installer sandbox, now dead, has put it
   * @param name its directory in there
   * @throws {OlError} package_install where it holds what a package may not hold
   */
  async admit(one: Distribution, results: Results, name: string): Promise<void> {
    const tree = await results.freeze(name);
    const staged = results.path(name);
    const record = await describe(one, staged, tree);
    await rm(join(staged, RECORD_FILE), { recursive: true, force: true });
    await writeFile(join(staged, RECORD_FILE), JSON.stringify(record), { mode: 0o644, flag: "wx" });
    await flushFileSystem(this.dir);
    const target = join(this.dir, one.dir);
    if (await tryRename(staged, target)) return;
    // Another worker of the cluster was faster: same artifact, so its copy is as good. What holds no record
    // is what is left of a copy that somebody began to delete, and would be in the way for ever.
    if ((await tryReadRecord(target)) !== null) return;
    const remains = await this.createWorkDir();
    try {
      await rename(target, join(remains, "remains"));
      await tryRename(staged, target);
    } finally {
      await this.destroyWorkDir(remains);
    }
  }

  /**
   * @param key names a set of requirements, see `resolutionKey`
   * @returns what it came down to, or null where it was never resolved
   */
  async tryReadResolution(key: string): Promise<readonly Distribution[] | null> {
    return tryParseResolution(await readFile(this.#resolution(key), "utf8").catch(() => ""));
  }

  /**
   * Keeps a resolution unless another worker of the cluster has kept one meanwhile, so that all use the same.
   * @param key names a set of requirements
   * @param distributions what it comes down to, as this worker sees it
   * @returns what is kept
   */
  async keepResolution(
    key: string,
    distributions: readonly Distribution[],
  ): Promise<readonly Distribution[]> {
    const path = this.#resolution(key);
    const workDir = await this.createWorkDir();
    try {
      const whole = join(workDir, "resolution");
      writeFileAtomic(whole, JSON.stringify(distributions));
      if (await tryLink(whole, path)) return distributions;
      const theirs = await this.tryReadResolution(key);
      if (theirs !== null) return theirs;
      // Nobody can use what is there.
      await rename(whole, path);
      return distributions;
    } finally {
      await this.destroyWorkDir(workDir);
    }
  }

  /**
   * Forgets a resolution that no longer works, unless another worker has kept a new one meanwhile.
   * @param key names a set of requirements
   * @param stale what it came down to
   */
  async dropResolution(key: string, stale: readonly Distribution[]): Promise<void> {
    const path = this.#resolution(key);
    const workDir = await this.createWorkDir();
    try {
      // Taken away before it is looked at: no one else can then be dropping the same.
      const taken = join(workDir, "resolution");
      const isThere = await rename(path, taken).then(
        () => true,
        () => false,
      );
      if (!isThere) return;
      const found = tryParseResolution(await readFile(taken, "utf8"));
      if (found !== null && !Bun.deepEquals(found, stale)) await tryLink(taken, path);
    } finally {
      await this.destroyWorkDir(workDir);
    }
  }

  #resolution(key: string): string {
    return join(this.dir, RESOLVED, `${key}.json`);
  }
}

/** @returns false where something has that name already */
async function tryLink(existing: string, path: string): Promise<boolean> {
  try {
    await link(existing, path);
    return true;
  } catch (error) {
    if (errnoNameOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** @returns false where a directory that is not empty has that name already */
async function tryRename(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    const name = errnoNameOf(error);
    if (name === "ENOTEMPTY" || name === "EEXIST") return false;
    throw error;
  }
}

/** What is on a disk may be cut short or edited: only what has the right shape counts. */
function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function tryParseResolution(text: string): readonly Distribution[] | null {
  const found = tryParse(text);
  if (!Array.isArray(found)) return null;
  const isWhole = (found as Partial<Distribution>[]).every(
    (one) => typeof one?.dir === "string" && Array.isArray(one.requires),
  );
  return isWhole ? (found as Distribution[]) : null;
}

async function tryReadRecord(dir: string): Promise<PackageRecord | null> {
  const text = await readFile(join(dir, RECORD_FILE), "utf8").catch(() => "");
  const found = tryParse(text) as Partial<PackageRecord> | null;
  return Array.isArray(found?.modules) && Array.isArray(found.imports)
    ? (found as PackageRecord)
    : null;
}

/**
 * Removes what a sandbox may have made as hard to remove as it could. rm(1) goes down by descriptors and in
 * linear time; the runtime's own removal took 80 s for 5,000 nested directories.
 */
async function removeTree(path: string): Promise<void> {
  const child = Bun.spawn(["rm", "--recursive", "--force", "--one-file-system", "--", path], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const words = await child.stderr.text();
  if ((await child.exited) !== 0) {
    throw new OlError(
      "internal",
      `Cannot remove a directory of the installer: ${words.slice(0, 200)}`,
      {
        op: "packages.remove",
      },
    );
  }
}

/**
 * @param parts everything that a resolution depends on
 * @returns a file name for it
 */
export function resolutionKey(parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 40);
}

/** Reads what a frozen tree provides; its texts are still a stranger's. */
async function describe(one: Distribution, root: string, tree: FrozenTree): Promise<PackageRecord> {
  const files = [...tree.files];
  const recordFile = files.find((path) => {
    const found = /^([^/]+)-[^/-]+\.dist-info\/RECORD$/.exec(path)?.[1];
    return found !== undefined && normalizeName(found) === one.name;
  });
  const text =
    recordFile && (await tryReadUntrusted(join(root, recordFile), INSTALLER_FILE_MAX_BYTES));
  const paths = text ? recordPaths(text).filter((path) => tree.files.has(path)) : files;
  const namespaces = new Set<string>();
  for (const path of paths) {
    const init = /^((?:[A-Za-z_]\w*\/){1,4})__init__\.py$/.exec(path)?.[1];
    if (init === undefined) continue;
    const source = await tryReadUntrusted(join(root, path), INIT_MAX_BYTES);
    if (source !== null && /\b(?:extend_path|declare_namespace)\s*\(/.test(source)) {
      namespaces.add(init.slice(0, -1).replaceAll("/", "."));
    }
  }
  return {
    name: one.name,
    version: one.version,
    ...moduleNames(one.name, paths, (dotted) => namespaces.has(dotted)),
    sizeBytes: tree.sizeBytes,
    pthFiles: files.filter((path) => /^[^/]+\.pth$/.test(path)).toSorted(),
  };
}

/** After a power cut, a directory with its final name must hold its files' bytes too. */
async function flushFileSystem(path: string): Promise<void> {
  await Bun.spawn(["sync", "--file-system", path], { stdio: ["ignore", "ignore", "ignore"] })
    .exited;
}
