/**
 * The install cache: from a lambda's `packages.txt` to directories for its `sys.path`. Each set of
 * requirements is resolved once, each artifact installed once, however many calls, lambdas and workers
 * ask at the same time.
 */

import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { systemClock, type Clock } from "../common/clock.ts";
import { OlError, toOlError } from "../common/errors.ts";
import {
  INSTALL_BACKOFF_FIRST_MS,
  INSTALL_BACKOFF_MAX_MS,
  INSTALL_MEMORY_MAX_COUNT,
  INSTALLERS_MAX_COUNT,
  REQUIREMENTS_MAX_BYTES,
} from "../common/limits.ts";
import { Backoff } from "./backoff.ts";
import type { ImportUnit, InstalledPackages, InstallStats, PackageInstaller } from "./contract.ts";
import { tryReadUntrusted } from "./freeze.ts";
import { Pip, type PipOptions } from "./pip.ts";
import { closureDirs, type Distribution } from "./report.ts";
import { parseRequirements, type Requirement } from "./requirements.ts";
import { Semaphore } from "./semaphore.ts";
import { PackageStore, resolutionKey, type PackageRecord } from "./store.ts";

/** What `PipInstaller.open` needs. */
export interface PipInstallerOptions extends PipOptions {
  /** `Pkgs_dir`. */
  readonly packagesDir: string;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

const NOTHING: InstalledPackages = Object.freeze({ dirs: [], imports: [], units: [] });

/** The install cache of one worker. */
export class PipInstaller implements PackageInstaller {
  readonly #store: PackageStore;
  readonly #pip: Pip;
  readonly #backoff: Backoff<OlError>;
  /** By lambda version; settled promises are the worker's memory. */
  readonly #versions = new Map<string, Promise<InstalledPackages>>();
  /** Resolutions under way, by key. */
  readonly #resolving = new Map<string, Promise<readonly Distribution[]>>();
  /** Installations under way, by directory. */
  readonly #installing = new Map<string, Promise<void>>();
  readonly #sandboxes = new Semaphore(INSTALLERS_MAX_COUNT);
  readonly #stats = { hits: 0, misses: 0, failures: 0 };

  private constructor(store: PackageStore, pip: Pip, clock: Clock) {
    this.#store = store;
    this.#pip = pip;
    this.#backoff = new Backoff(clock, {
      firstMs: INSTALL_BACKOFF_FIRST_MS,
      maxMs: INSTALL_BACKOFF_MAX_MS,
      entriesMax: INSTALL_MEMORY_MAX_COUNT,
    });
  }

  /**
   * @param options what to install with and where
   * @returns the cache, after leftovers of crashed workers were removed
   */
  static async open(options: PipInstallerOptions): Promise<PipInstaller> {
    const store = await PackageStore.open(options.packagesDir);
    return new PipInstaller(store, new Pip(options), options.clock ?? systemClock);
  }

  /** @returns figures since the worker started */
  stats(): InstallStats {
    return { ...this.#stats };
  }

  ensure(codeDir: string, codeId: string): Promise<InstalledPackages> {
    return this.#ensureOnce(codeId, () => readRequirements(codeDir));
  }

  /**
   * @param lines requirements of the configuration (`startup_pkgs`), as in packages.txt
   * @returns them, installed
   * @throws {OlError} package_install
   */
  ensureStartup(lines: readonly string[]): Promise<InstalledPackages> {
    const text = lines.join("\n");
    return this.#ensureOnce(`startup_pkgs\n${text}`, () =>
      Promise.resolve(parseRequirements(text, "startup_pkgs")),
    );
  }

  #ensureOnce(
    key: string,
    read: () => Promise<readonly Requirement[]>,
  ): Promise<InstalledPackages> {
    const known = this.#versions.get(key);
    if (known !== undefined) {
      this.#stats.hits += 1;
      return known;
    }
    const blocked = this.#backoff.blocked(key);
    if (blocked !== null) return Promise.reject(blocked.reason);
    const started = this.#install(read).then(
      (installed) => {
        this.#backoff.succeeded(key);
        return installed;
      },
      (thrown: unknown) => {
        const error = toOlError(thrown);
        this.#versions.delete(key);
        this.#backoff.failed(key, error);
        this.#stats.failures += 1;
        throw error;
      },
    );
    this.#versions.set(key, started);
    if (this.#versions.size > INSTALL_MEMORY_MAX_COUNT) {
      const oldest = this.#versions.keys().next();
      if (!oldest.done) this.#versions.delete(oldest.value);
    }
    return started;
  }

  async #install(read: () => Promise<readonly Requirement[]>): Promise<InstalledPackages> {
    const requirements = await read();
    if (requirements.length === 0) return NOTHING;
    const ranBefore = this.#sandboxes.entered;
    const distributions = await this.#resolve([...new Set(requirements.map(({ line }) => line))]);
    const records = await this.#installAll(distributions);
    if (this.#sandboxes.entered === ranBefore) this.#stats.hits += 1;
    else this.#stats.misses += 1;
    return describe(requirements, distributions, records);
  }

  async #resolve(lines: readonly string[]): Promise<readonly Distribution[]> {
    const environment = await this.#pip.environment();
    const key = resolutionKey([...lines.toSorted(), environment, this.#pip.indexes()]);
    const known = await this.#store.tryReadResolution(key);
    if (known !== null) return known;
    return shareOnce(this.#resolving, key, () =>
      this.#inSandbox(async (workDir) => {
        const distributions = await this.#pip.resolve(lines, workDir);
        this.#store.writeResolution(key, distributions);
        return distributions;
      }),
    );
  }

  /** @returns the records of all, after what was missing is installed */
  async #installAll(
    distributions: readonly Distribution[],
  ): Promise<ReadonlyMap<string, PackageRecord>> {
    const records = new Map<string, PackageRecord>();
    // What another call was installing may have failed for reasons of that call: a second round is ours.
    for (const round of [1, 2]) {
      const missing: Distribution[] = [];
      for (const one of distributions) {
        const found = records.get(one.dir) ?? (await this.#store.tryRead(one.dir));
        if (found === null) missing.push(one);
        else records.set(one.dir, found);
      }
      if (missing.length === 0) return records;
      const shared = missing.flatMap((one) => this.#installing.get(one.dir) ?? []);
      const own = missing.filter((one) => !this.#installing.has(one.dir));
      const others = Promise.allSettled(shared);
      await Promise.all(this.#start(own));
      const failed = (await others).find((result) => result.status === "rejected");
      if (round === 2 && failed !== undefined) throw failed.reason;
    }
    for (const one of distributions) {
      const found = await this.#store.tryRead(one.dir);
      if (found === null)
        throw new OlError("package_install", `Cannot find ${one.name} after installing it`);
      records.set(one.dir, found);
    }
    return records;
  }

  /** All wheels in one sandbox, since none of their code runs there; each source distribution in its own. */
  #start(distributions: readonly Distribution[]): readonly Promise<void>[] {
    const wheels = distributions.filter(({ kind }) => kind === "wheel");
    const sources = distributions.filter(({ kind }) => kind === "source").map((one) => [one]);
    return [...(wheels.length > 0 ? [wheels] : []), ...sources].map((batch) => {
      const started = this.#inSandbox(async (workDir) => {
        await this.#pip.install(batch, workDir);
        for (const [index, one] of batch.entries()) {
          await this.#store.admit(one, join(workDir, "out", String(index)));
        }
      }).finally(() => {
        for (const one of batch) this.#installing.delete(one.dir);
      });
      for (const one of batch) this.#installing.set(one.dir, started);
      return started;
    });
  }

  #inSandbox<T>(work: (workDir: string) => Promise<T>): Promise<T> {
    return this.#sandboxes.run(async () => {
      const workDir = await this.#store.createWorkDir();
      try {
        return await work(workDir);
      } finally {
        await this.#store.destroyWorkDir(workDir);
      }
    });
  }
}

/** Either file may be absent; what is there must be a plain file of a sane size. */
async function readRequirements(codeDir: string): Promise<readonly Requirement[]> {
  const found: Requirement[] = [];
  for (const file of ["packages.txt", "requirements.txt"] as const) {
    const path = join(codeDir, file);
    if ((await lstat(path).catch(() => null)) === null) continue;
    const text = await tryReadUntrusted(path, REQUIREMENTS_MAX_BYTES);
    if (text === null) {
      throw new OlError(
        "package_install",
        `Cannot use ${file}: it has to be a plain file of at most ${REQUIREMENTS_MAX_BYTES} bytes`,
        { op: "packages.read" },
      );
    }
    found.push(...parseRequirements(text, file));
  }
  return found;
}

function shareOnce<T>(
  under: Map<string, Promise<T>>,
  key: string,
  start: () => Promise<T>,
): Promise<T> {
  const running = under.get(key);
  if (running !== undefined) return running;
  const started = start().finally(() => under.delete(key));
  under.set(key, started);
  return started;
}

function describe(
  requirements: readonly Requirement[],
  distributions: readonly Distribution[],
  records: ReadonlyMap<string, PackageRecord>,
): InstalledPackages {
  const units: ImportUnit[] = [];
  for (const one of distributions) {
    const standard = records.get(one.dir)?.imports ?? [];
    const asked = requirements.filter(({ name }) => name === one.name);
    const named = asked.flatMap(({ module }) => (module === null ? standard : [module]));
    const dirs = closureDirs(one, distributions);
    for (const module of new Set([...standard, ...named])) {
      units.push({
        module,
        dirs,
        declared: named.includes(module),
        standard: standard.includes(module),
      });
    }
  }
  return {
    dirs: distributions.map(({ dir }) => ({ dir, modules: records.get(dir)?.modules ?? [] })),
    imports: units.filter(({ declared }) => declared).map(({ module }) => module),
    units,
  };
}
