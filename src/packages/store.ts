/**
 * The packages directory: one subdirectory per installed artifact, shared by the workers of a cluster.
 *
 * | path | holds |
 * | --- | --- |
 * | `<name>-<version>-<digest>/` | an installed distribution; whole from the moment it has this name |
 * | `<…>/.package.json` | its `PackageRecord`, written by the worker |
 * | `.staging/<pid>-<start>-<x>/` | an installation under way; removed once its worker is gone |
 * | `.resolved/<digest>.json` | what a set of requirements came down to |
 *
 * Sandboxes see it read-only as `/packages`: they can pass through it but not list it, and not enter the two
 * directories with a dot.
 */

import { createHash } from "node:crypto";
import {
  chmod,
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
import { INSTALLER_FILE_MAX_BYTES } from "../common/limits.ts";
import { freezeTree, tryReadUntrusted, type FrozenTree } from "./freeze.ts";
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
      await rm(join(this.dir, STAGING, name), { recursive: true, force: true });
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
    await rm(path, { recursive: true, force: true });
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
    try {
      const text = await readFile(join(this.dir, dir, RECORD_FILE), "utf8");
      const record = JSON.parse(text) as PackageRecord;
      this.#records.set(dir, record);
      return record;
    } catch {
      return null;
    }
  }

  /**
   * Takes an installed distribution over, in one step.
   * @param one which it is
   * @param staged where an installer sandbox, now dead, has put it
   * @throws {OlError} dottedinstall where it holds what a package may not hold
   */
  async admit(one: Distribution, staged: string): Promise<void> {
    const tree = await freezeTree(staged);
    const record = await describe(one, staged, tree);
    await rm(join(staged, RECORD_FILE), { recursive: true, force: true });
    await writeFile(join(staged, RECORD_FILE), JSON.stringify(record), { mode: 0o644, flag: "wx" });
    await flushFileSystem(staged);
    try {
      await rename(staged, join(this.dir, one.dir));
    } catch (error) {
      const name = errnoNameOf(error);
      // Another worker of the cluster was faster: same artifact, so its copy is as good.
      if (name !== "ENOTEMPTY" && name !== "EEXIST") throw error;
    }
  }

  /**
   * @param key names a set of requirements, see `resolutionKey`
   * @returns what it came down to, or null where it was never resolved
   */
  async tryReadResolution(key: string): Promise<readonly Distribution[] | null> {
    try {
      const text = await readFile(join(this.dir, RESOLVED, `${key}.json`), "utf8");
      return JSON.parse(text) as Distribution[];
    } catch {
      return null;
    }
  }

  /**
   * @param key names a set of requirements
   * @param distributions what it comes down to
   */
  writeResolution(key: string, distributions: readonly Distribution[]): void {
    writeFileAtomic(join(this.dir, RESOLVED, `${key}.json`), JSON.stringify(distributions));
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
