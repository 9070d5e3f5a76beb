/**
 * Immutable versions of a lambda's code on this worker: `code/<NAME>/<number>/`, pulled once,
 * removed when the last instance that runs it is gone.
 */

import { mkdirSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../common/clock.ts";
import { OlError, toOlError } from "../common/errors.ts";
import { REGISTRY_PATIENCE_MS } from "../common/limits.ts";
import type { Logger } from "../common/log.ts";
import type { InstalledPackages, PackageInstaller } from "../packages/contract.ts";
import type { Registry, RegistryVersion } from "../registry/contract.ts";

/** One pulled state of a lambda's code. */
export class CodeVersion {
  readonly lambdaName: string;
  readonly registryVersion: RegistryVersion;
  readonly codeDir: string;
  /** Unlike that of every other version on this worker. */
  readonly codeId: string;
  /** Whether any sandbox of it came so far that its handler could be called. */
  hasLoaded = false;
  readonly #installer: PackageInstaller | null;
  #packages: Promise<InstalledPackages> | null = null;
  #installed: InstalledPackages | null = null;
  #users = 0;
  #retired = false;

  constructor(
    lambdaName: string,
    registryVersion: RegistryVersion,
    codeDir: string,
    codeId: string,
    installer: PackageInstaller | null,
  ) {
    this.lambdaName = lambdaName;
    this.registryVersion = registryVersion;
    this.codeDir = codeDir;
    this.codeId = codeId;
    this.#installer = installer;
  }

  /** Its packages once they are installed, else null. */
  get installed(): InstalledPackages | null {
    return this.#installed;
  }

  /** Instances that run it. */
  get users(): number {
    return this.#users;
  }

  /**
   * Installs what it declares; callers at the same time share the work, a failure is tried again
   * by the next one (the installer itself holds back).
   * @throws {OlError} package_install
   */
  async ensurePackages(): Promise<InstalledPackages> {
    if (this.#installed !== null) return this.#installed;
    this.#packages ??= this.#install();
    try {
      this.#installed = await this.#packages;
      return this.#installed;
    } finally {
      this.#packages = null;
    }
  }

  /** An instance runs it. */
  acquire(): void {
    this.#users += 1;
  }

  /** An instance that ran it is gone. */
  release(): void {
    this.#users -= 1;
    this.#removeIfUnused();
  }

  /** A newer version took its place: it is removed with its last user. */
  retire(): void {
    this.#retired = true;
    this.#removeIfUnused();
  }

  async #install(): Promise<InstalledPackages> {
    if (this.#installer === null) return { dirs: [], imports: [], units: [] };
    return await this.#installer.ensure(this.codeDir, this.codeId);
  }

  #removeIfUnused(): void {
    if (!this.#retired || this.#users > 0) return;
    // Off the path of whoever retired it; a leftover is removed when the worker starts again.
    rm(this.codeDir, { recursive: true, force: true }).catch(() => {});
  }
}

/** What versions are made of. */
export interface VersionSourceOptions {
  readonly registry: Registry;
  readonly installer: PackageInstaller | null;
  /** `<worker>/code`. */
  readonly codeRoot: string;
  readonly cacheMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The versions of one lambda. */
export class VersionSource {
  readonly #name: string;
  readonly #options: VersionSourceOptions;
  #current: CodeVersion | null = null;
  #checkedUs = Number.NEGATIVE_INFINITY;
  #checking: Promise<CodeVersion | null> | null = null;
  /** The registry took too long to answer: until it is quick again, nobody waits for it. */
  #isStoreSlow = false;
  #isClosed = false;
  #pulls = 0;

  /**
   * @param name a valid lambda name
   * @param options registry, installer, where code goes
   */
  constructor(name: string, options: VersionSourceOptions) {
    this.#name = name;
    this.#options = options;
  }

  /** The version in use, however long ago the registry was asked; null where there is none. */
  get inUse(): CodeVersion | null {
    return this.#current;
  }

  /** Whether the registry is being asked. */
  get isChecking(): boolean {
    return this.#checking !== null;
  }

  /** The version in use without waiting for the registry: null where it must be asked. */
  get fresh(): CodeVersion | null {
    const ageUs = this.#options.clock.nowUs() - this.#checkedUs;
    if (ageUs < this.#options.cacheMs * 1000) return this.#current;
    if (!this.#isStoreSlow || this.#current?.hasLoaded !== true) return null;
    void this.#startCheck();
    return this.#current;
  }

  /**
   * Asks the registry, unless it was asked less than `registry_cache_ms` ago. Where a version is in
   * use that works, a registry that does not answer soon is not waited for: it stays in use meanwhile.
   * @returns the version to run, or null where there is no such lambda
   * @throws {OlError} registry_unavailable, registry_denied, bundle_invalid where no version is here
   */
  async current(): Promise<CodeVersion | null> {
    const { fresh } = this;
    if (fresh !== null) return fresh;
    const checking = this.#startCheck();
    const inUse = this.#current;
    // What never worked is not worth keeping: whoever mended it waits for the new one.
    if (inUse === null || !inUse.hasLoaded) return await checking;
    const patience = Promise.withResolvers<CodeVersion>();
    const timer = setTimeout(() => {
      this.#isStoreSlow = true;
      patience.resolve(this.#current ?? inUse);
    }, REGISTRY_PATIENCE_MS);
    try {
      return await Promise.race([checking, patience.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives up the version in use, for good: the lambda is no longer known here. */
  close(): void {
    this.#isClosed = true;
    this.#setCurrent(null);
  }

  #setCurrent(version: CodeVersion | null): void {
    const old = this.#current;
    this.#current = version;
    old?.retire();
  }

  /** One check at a time; it rejects only where there is no version to fall back to. */
  #startCheck(): Promise<CodeVersion | null> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = null;
    });
    // Whoever waits for it hears of a failure; in the background there may be nobody.
    this.#checking.catch(() => {});
    return this.#checking;
  }

  async #check(): Promise<CodeVersion | null> {
    const { clock, log } = this.#options;
    const inUse = this.#current;
    try {
      const wanted = await this.#resolve(inUse);
      if (wanted === null) this.#setCurrent(null);
      else if (inUse === null || wanted.id !== inUse.registryVersion.id) {
        await this.#replace(inUse, wanted);
      }
      this.#checkedUs = clock.nowUs();
      return this.#current;
    } catch (error) {
      // A store that is away or a broken new bundle does not take down what runs.
      if (inUse === null) throw error;
      this.#checkedUs = clock.nowUs();
      const fields = { op: "lambda.check", lambda: this.#name, err: error };
      log.limited("lambda.check", "warn", "kept the version in use", fields);
      return inUse;
    }
  }

  async #resolve(inUse: CodeVersion | null): Promise<RegistryVersion | null> {
    const { registry, clock } = this.#options;
    const startUs = clock.nowUs();
    try {
      return await registry.resolve(this.#name, inUse?.registryVersion);
    } finally {
      this.#isStoreSlow = clock.nowUs() - startUs >= REGISTRY_PATIENCE_MS * 1000;
    }
  }

  async #replace(inUse: CodeVersion | null, wanted: RegistryVersion): Promise<void> {
    const pulled = await this.#pull(wanted);
    if (inUse?.hasLoaded === true) {
      // The old version serves while the packages of the new one are installed. Where they cannot be,
      // the new one takes its place all the same: its calls say why, as those of any broken code do.
      await pulled.ensurePackages().catch(() => null);
    }
    if (this.#isClosed) pulled.retire();
    else this.#setCurrent(pulled);
  }

  async #pull(wanted: RegistryVersion): Promise<CodeVersion> {
    const { registry, codeRoot, installer } = this.#options;
    this.#pulls += 1;
    const number = `${Date.now().toString(36)}-${this.#pulls}`;
    const dir = join(codeRoot, this.#name, number);
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    try {
      const pulled = await registry.pull(this.#name, wanted, dir);
      const codeId = `${this.#name}/${number}/${pulled.id}`;
      return new CodeVersion(this.#name, pulled, dir, codeId, installer);
    } catch (error) {
      rmSync(dir, { recursive: true, force: true });
      throw error instanceof OlError ? error : toOlError(error);
    }
  }
}
