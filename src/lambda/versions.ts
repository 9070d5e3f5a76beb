/**
 * Immutable versions of a lambda's code on this worker: `code/<NAME>/<number>/`, pulled once,
 * removed when the last instance that runs it is gone.
 */

import { mkdirSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../common/clock.ts";
import { OlError, toOlError } from "../common/errors.ts";
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
  #pulls = 0;

  /**
   * @param name a valid lambda name
   * @param options registry, installer, where code goes
   */
  constructor(name: string, options: VersionSourceOptions) {
    this.#name = name;
    this.#options = options;
  }

  /** The version in use without asking the registry: null where it must be asked. */
  get fresh(): CodeVersion | null {
    const ageUs = this.#options.clock.nowUs() - this.#checkedUs;
    return ageUs < this.#options.cacheMs * 1000 ? this.#current : null;
  }

  /**
   * Asks the registry, unless it was asked less than `registry_cache_ms` ago.
   * @returns the version to run, or null where there is no such lambda
   * @throws {OlError} registry_unavailable, registry_denied, bundle_invalid where no version is here
   */
  async current(): Promise<CodeVersion | null> {
    const { fresh } = this;
    if (fresh !== null) return fresh;
    this.#checking ??= this.#check().finally(() => {
      this.#checking = null;
    });
    return await this.#checking;
  }

  /** Gives up the version in use: the lambda is no longer known here. */
  close(): void {
    this.#current?.retire();
    this.#current = null;
  }

  async #check(): Promise<CodeVersion | null> {
    const { registry, clock, log } = this.#options;
    const inUse = this.#current;
    try {
      const wanted = await registry.resolve(this.#name, inUse?.registryVersion);
      if (wanted === null) {
        this.close();
      } else if (inUse === null || wanted.id !== inUse.registryVersion.id) {
        this.#current = await this.#pull(wanted);
        inUse?.retire();
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
