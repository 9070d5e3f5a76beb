/**
 * The install cache: from a lambda's `packages.txt` to directories for its `sys.path`. Each set of
 * requirements is resolved once, each artifact installed once, however many calls and lambdas ask at the
 * same time. Other workers of the cluster may do the same work at the same moment; all go on with what the
 * first of them has kept.
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
} from "../common/package-limits.ts";
import { Backoff } from "./backoff.ts";
import type { ImportUnit, InstalledPackages, InstallStats, PackageInstaller } from "./contract.ts";
import { FairSlots } from "./fair-slots.ts";
import { Results } from "./results.ts";
import { tryReadUntrusted } from "./untrusted-file.ts";
import { Pip, type PipOptions } from "./pip.ts";
import { closureDirs, type Distribution } from "./report.ts";
import { parseRequirements, type Requirement } from "./requirements.ts";
import { PackageStore, resolutionKey, type PackageRecord } from "./store.ts";

/** What `PipInstaller.open` needs. */
export interface PipInstallerOptions extends PipOptions {
  /** `Pkgs_dir`. */
  readonly packagesDir: string;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** One call of `ensure` that is not answered from memory. */
interface Work {
  /** Whose turn at a sandbox it takes. */
  readonly owner: string;
  /** Whether pip ran for it, or it waited for a run of another. */
  usedPip: boolean;
}

/** A lambda version's packages, installed or about to be. */
interface Version {
  readonly installed: Promise<InstalledPackages>;
  /** Null until it is known; `none`: it has no packages, and no part in the figures. */
  served: "hit" | "miss" | "none" | null;
}

/** Rounds of one installation: what others were doing, what failed for them, what is then ours. */
const INSTALL_ROUNDS_MAX = 3;

const NOTHING: InstalledPackages = Object.freeze({ dirs: [], imports: [], units: [] });

/** The install cache of one worker. */
export class PipInstaller implements PackageInstaller {
  readonly #store: PackageStore;
  readonly #pip: Pip;
  readonly #backoff: Backoff<OlError>;
  /** By lambda version: the worker's memory. */
  readonly #versions = new Map<string, Version>();
  /** Resolutions that run, by key; one that waits for its turn is nobody else's to wait for. */
  readonly #resolving = new Map<string, Promise<readonly Distribution[]>>();
  /** Installations that run, by directory; likewise. */
  readonly #installing = new Map<string, Promise<void>>();
  readonly #slots = new FairSlots(INSTALLERS_MAX_COUNT);
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
    // `<lambda>/<number>/<version>`: all versions of a lambda share its turn.
    const owner = codeId.split("/", 1)[0] ?? codeId;
    return this.#ensureOnce(codeId, owner, () => readRequirements(codeDir));
  }

  /**
   * @param lines requirements of the configuration (`startup_pkgs`), as in packages.txt
   * @returns them, installed
   * @throws {OlError} package_install
   */
  ensureStartup(lines: readonly string[]): Promise<InstalledPackages> {
    const text = lines.join("\n");
    // No lambda's name has a space.
    return this.#ensureOnce(`startup_pkgs\n${text}`, "startup packages", () =>
      Promise.resolve(parseRequirements(text, "startup_pkgs")),
    );
  }

  #ensureOnce(
    key: string,
    owner: string,
    read: () => Promise<readonly Requirement[]>,
  ): Promise<InstalledPackages> {
    const known = this.#versions.get(key);
    if (known !== undefined) {
      if (known.served !== null) this.#count(known.served === "none" ? "none" : "hit");
      // Whoever waits for it fares as the one who began it.
      else known.installed.then(() => this.#count(known.served), ignore);
      return known.installed;
    }
    const blocked = this.#backoff.blocked(key);
    if (blocked !== null) return Promise.reject(blocked.reason);
    const work: Work = { owner, usedPip: false };
    const installed = this.#install(work, read).then(
      (found) => {
        this.#backoff.succeeded(key);
        version.served = work.usedPip ? "miss" : found === NOTHING ? "none" : "hit";
        this.#count(version.served);
        return found;
      },
      (thrown: unknown) => {
        const error = toOlError(thrown);
        this.#versions.delete(key);
        this.#backoff.failed(key, error);
        this.#stats.failures += 1;
        throw error;
      },
    );
    const version: Version = { installed, served: null };
    this.#versions.set(key, version);
    if (this.#versions.size > INSTALL_MEMORY_MAX_COUNT) {
      const oldest = this.#versions.keys().next();
      if (!oldest.done) this.#versions.delete(oldest.value);
    }
    return installed;
  }

  #count(served: Version["served"]): void {
    if (served === "hit") this.#stats.hits += 1;
    else if (served === "miss") this.#stats.misses += 1;
  }

  async #install(
    work: Work,
    read: () => Promise<readonly Requirement[]>,
  ): Promise<InstalledPackages> {
    const requirements = await read();
    if (requirements.length === 0) return NOTHING;
    const lines = [...new Set(requirements.map(({ line }) => line))].toSorted();
    const key = resolutionKey([...lines, await this.#pip.environment(), this.#pip.indexes()]);
    const kept = await this.#store.tryReadResolution(key);
    const distributions = kept ?? (await this.#resolve(work, key, lines));
    try {
      return describe(requirements, distributions, await this.#installAll(work, distributions));
    } catch (error) {
      if (kept === null) throw error;
      // What it names may since have been taken off the index, or been replaced there.
      const renewed = await this.#resolve(work, key, lines, kept);
      if (Bun.deepEquals(renewed, kept)) throw error;
      return describe(requirements, renewed, await this.#installAll(work, renewed));
    }
  }

  /**
   * @param stale an answer that did not work, to be replaced once pip has given another; null: there is none
   * @returns what is kept from now on, by whichever worker
   */
  async #resolve(
    work: Work,
    key: string,
    lines: readonly string[],
    stale: readonly Distribution[] | null = null,
  ): Promise<readonly Distribution[]> {
    work.usedPip = true;
    const find = async (): Promise<readonly Distribution[] | null> => {
      const kept = await this.#store.tryReadResolution(key);
      return kept !== null && Bun.deepEquals(kept, stale) ? null : kept;
    };
    // Ends with the first run of anybody: each turn either finds one, shares one or is one.
    for (;;) {
      const running = this.#resolving.get(key);
      if (running !== undefined) return await running;
      const found = await this.#slots.run(work.owner, async () => {
        if (this.#resolving.has(key)) return null;
        const started = this.#inSandbox(async (workDir) => {
          const kept = await find();
          if (kept !== null) return kept;
          const distributions = await this.#pip.resolve(lines, workDir);
          if (stale !== null) await this.#store.dropResolution(key, stale);
          return await this.#store.keepResolution(key, distributions);
        }).finally(() => this.#resolving.delete(key));
        this.#resolving.set(key, started);
        return await started;
      });
      if (found !== null) return found;
    }
  }

  /** @returns the records of all, after what was missing is installed */
  async #installAll(
    work: Work,
    distributions: readonly Distribution[],
  ): Promise<ReadonlyMap<string, PackageRecord>> {
    const records = new Map<string, PackageRecord>();
    for (let round = 1; ; round++) {
      for (const one of distributions) {
        const found = records.get(one.dir) ?? (await this.#store.tryRead(one.dir));
        if (found !== null) records.set(one.dir, found);
      }
      const missing = distributions.filter(({ dir }) => !records.has(dir));
      if (missing.length === 0) return records;
      if (round > INSTALL_ROUNDS_MAX) {
        const names = missing.map(({ name }) => name).join(", ");
        throw new OlError("package_install", `Cannot find ${names} after installing it`);
      }
      work.usedPip = true;
      // What another call is installing may fail for reasons of that call: a later round is then ours.
      const shared = missing.flatMap((one) => this.#installing.get(one.dir) ?? []);
      const own = missing.filter((one) => !this.#installing.has(one.dir));
      const others = Promise.allSettled(shared);
      await Promise.all(this.#batches(own).map((batch) => this.#installBatch(work, batch)));
      const failed = (await others).find((result) => result.status === "rejected");
      if (round === INSTALL_ROUNDS_MAX && failed !== undefined) throw failed.reason;
    }
  }

  /** All wheels in one sandbox, since none of their code runs there; each source distribution in its own. */
  #batches(distributions: readonly Distribution[]): readonly (readonly Distribution[])[] {
    const wheels = distributions.filter(({ kind }) => kind === "wheel");
    const sources = distributions.filter(({ kind }) => kind === "source").map((one) => [one]);
    return [...(wheels.length > 0 ? [wheels] : []), ...sources];
  }

  #installBatch(work: Work, batch: readonly Distribution[]): Promise<void> {
    return this.#slots.run(work.owner, async () => {
      // Somebody may have installed some of it meanwhile, or be at it: no slot is held to wait for that.
      const own: Distribution[] = [];
      for (const one of batch) {
        if ((await this.#store.tryRead(one.dir)) === null) own.push(one);
      }
      const free = own.filter(({ dir }) => !this.#installing.has(dir));
      if (free.length === 0) return;
      const started = this.#inSandbox(async (workDir) => {
        await this.#pip.install(free, workDir);
        using results = Results.open(workDir, "out");
        for (const [index, one] of free.entries()) {
          await this.#store.admit(one, results, String(index));
        }
      }).finally(() => {
        for (const { dir } of free) this.#installing.delete(dir);
      });
      for (const { dir } of free) this.#installing.set(dir, started);
      await started;
    });
  }

  async #inSandbox<T>(work: (workDir: string) => Promise<T>): Promise<T> {
    const workDir = await this.#store.createWorkDir();
    let result: T;
    try {
      result = await work(workDir);
    } catch (error) {
      // What cannot be removed now is removed by the next start; the first failure is the one to tell.
      await this.#store.destroyWorkDir(workDir).catch(ignore);
      throw error;
    }
    await this.#store.destroyWorkDir(workDir);
    return result;
  }
}

function ignore(): void {}

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
