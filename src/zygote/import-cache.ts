/**
 * The import cache: lends zygotes to cold starts, makes new ones off the caller's path where imports cost
 * time again and again, and ends the least useful when memory is short. Everything about processes is the
 * host's; everything here is bookkeeping that runs in one thread.
 */

import type { Clock } from "../common/clock.ts";
import {
  ZYGOTE_BACKOFF_FIRST_MS,
  ZYGOTE_BACKOFF_MAX_MS,
  ZYGOTE_CREATIONS_MAX,
  ZYGOTE_DEPTH_MAX,
  ZYGOTE_PROFILES_MAX_COUNT,
  ZYGOTE_ROOM_BACKOFF_FIRST_MS,
  ZYGOTE_ROOM_BACKOFF_MAX_MS,
  ZYGOTE_WORTH_MIN_US,
  ZYGOTES_MAX_COUNT,
} from "../common/zygote-limits.ts";
import { Backoff } from "../packages/backoff.ts";
import type { InstalledPackages } from "../packages/contract.ts";
import type { ImportCacheStats, ZygoteHost } from "./contract.ts";
import { believable, bottomUp, CostModel } from "./costs.ts";
import { Demand } from "./demand.ts";
import { Evictor } from "./evictor.ts";
import { impliedUnits, needOf, setKey, type Need } from "./need.ts";
import { findMisplaced, packagesOf, planZygotes, type Candidate } from "./planner.ts";
import { ZygoteTree, type ZygoteNode } from "./tree.ts";

/** What `ImportCache` needs. */
export interface ImportCacheOptions {
  readonly host: ZygoteHost;
  readonly clock: Clock;
  /** `import_cache_size` in bytes; 0 switches the cache off. */
  readonly budgetBytes: number;
  /** Told of every zygote that could not be made; default: nobody. */
  readonly onFailure?: (modules: readonly string[], error: unknown) => void;
}

/** A zygote lent to one cold start: it does not end before it is given back. */
export interface ZygoteLease {
  /** Whom to fork from; null: the root. */
  readonly zygote: string | null;
  /** Declared modules that it has not imported. */
  readonly imports: readonly string[];
  /**
   * Gives it back; idempotent.
   * @param importUs time that the new sandbox spent on imports, in microseconds; null where it failed
   */
  release(importUs: number | null): void;
}

/** The import cache of one worker. */
export class ImportCache {
  readonly #options: ImportCacheOptions;
  readonly #tree: ZygoteTree;
  readonly #demand: Demand;
  readonly #costs = new CostModel();
  readonly #evictor: Evictor;
  /** Zygotes that failed or died, by identity of their units. */
  readonly #backoff: Backoff<unknown>;
  /** Needs for whose zygotes there was no room. */
  readonly #noRoom: Backoff<null>;
  readonly #needs = new WeakMap<InstalledPackages, Need>();
  /** Zygotes being made, by identity of their units, with what they are expected to take. */
  readonly #creating = new Map<string, { readonly memoryBytes: number; done: Promise<unknown> }>();
  readonly #counts = { hits: 0, misses: 0, creations: 0, failures: 0, deaths: 0 };
  #sequence = 0;
  #closed = false;

  /** @param options host, time and budget */
  constructor(options: ImportCacheOptions) {
    this.#options = options;
    this.#tree = new ZygoteTree(options.clock);
    this.#demand = new Demand(options.clock);
    this.#evictor = new Evictor(this.#tree, options.host, options.budgetBytes);
    this.#backoff = new Backoff(options.clock, {
      firstMs: ZYGOTE_BACKOFF_FIRST_MS,
      maxMs: ZYGOTE_BACKOFF_MAX_MS,
      entriesMax: ZYGOTE_PROFILES_MAX_COUNT,
    });
    this.#noRoom = new Backoff(options.clock, {
      firstMs: ZYGOTE_ROOM_BACKOFF_FIRST_MS,
      maxMs: ZYGOTE_ROOM_BACKOFF_MAX_MS,
      entriesMax: ZYGOTE_PROFILES_MAX_COUNT,
    });
  }

  /** Whether `import_cache_size` is 0, or the cache is closed. */
  get off(): boolean {
    return this.#options.budgetBytes <= 0 || this.#closed;
  }

  /**
   * Picks the zygote that saves this lambda most; looks only, see `acquire`.
   * @param installed a lambda's packages
   * @returns its id, or null for the root: what it has imported is always part of what the lambda has
   */
  choose(installed: InstalledPackages): string | null {
    return this.off ? null : (this.#tree.choose(this.#needOf(installed))?.id ?? null);
  }

  /**
   * Lends a zygote to a cold start.
   * @param installed the lambda's packages
   */
  acquire(installed: InstalledPackages): ZygoteLease {
    const need = this.#needOf(installed);
    if (this.off || need.declared.size === 0) {
      return { zygote: null, imports: installed.imports, release: () => {} };
    }
    this.#demand.note(need);
    const node = this.#tree.choose(need);
    if (node === null) this.#counts.misses += 1;
    else {
      this.#counts.hits += 1;
      node.hits += 1;
      node.demand.add(1);
      node.pins += 1;
    }
    const missing = [...need.declared.values()].filter(({ key }) => node?.units.has(key) !== true);
    let released = false;
    return {
      zygote: node?.id ?? null,
      imports: missing.map(({ module }) => module),
      release: (importUs) => {
        if (released) return;
        released = true;
        if (node !== null) node.pins -= 1;
        if (importUs === null || missing.length === 0) return;
        const spentUs = believable(importUs);
        this.#costs.hear(missing, node?.units ?? new Map(), spentUs);
        if (spentUs >= ZYGOTE_WORTH_MIN_US) this.#consider(need);
      },
    };
  }

  /**
   * Makes a zygote for each declared module now, and keeps them whatever the demand (`startup_pkgs`).
   * @param installed packages of the configuration
   * @throws {OlError} what the host threw for the first that could not be made
   */
  async preload(installed: InstalledPackages): Promise<void> {
    if (this.off) return;
    const need = this.#needOf(installed);
    for (const unit of bottomUp(need.declared.values())) {
      const units = new Map([[unit.key, unit]]);
      const allowed = impliedUnits(units, need);
      if (this.#tree.best(allowed)?.units.has(unit.key) === true) continue;
      const parent = this.#tree.best(allowed, ZYGOTE_DEPTH_MAX - 1);
      const { memoryBytes } = this.#costs.estimate([unit], new Map());
      const packages = packagesOf([unit], need, parent);
      const key = setKey([unit]);
      const wanted = { key, parent, units, added: [unit], packages, memoryBytes };
      await this.#create({ ...wanted, weight: 1, density: 0 }, 1);
    }
  }

  /**
   * To be called by the host when a zygote ended by itself: everything below it died with it.
   * @param id of the zygote
   */
  zygoteGone(id: string): void {
    const node = this.#tree.get(id);
    if (node === undefined) return;
    this.#counts.deaths += 1;
    this.#backoff.failed(setKey(node.units.values()), null);
    for (const dead of this.#tree.removeSubtree(node)) this.#evictor.end(dead);
  }

  /**
   * Gives memory back because the machine needs it.
   * @param bytes how much
   * @returns how much that freed, in bytes; less where the rest is in use
   */
  releaseMemory(bytes: number): number {
    return this.#evictor.free(bytes);
  }

  /** @returns figures and every zygote */
  stats(): ImportCacheStats {
    this.#evictor.measure();
    return {
      ...this.#counts,
      evictions: this.#evictor.evictions,
      memoryBytes: this.#evictor.usedBytes,
      zygotes: this.#tree.nodes().map((node) => ({
        id: node.id,
        parent: node.parent?.id ?? null,
        packages: [...node.packages.keys()],
        hits: node.hits,
        memoryBytes: node.memoryBytes,
        importUs: node.importUs,
        children: node.children.size,
        liveSandboxes: this.#options.host.liveSandboxes(node.id),
      })),
    };
  }

  /** @returns when no zygote is being made or ended */
  async settled(): Promise<void> {
    while (this.#creating.size > 0) {
      await Promise.allSettled([...this.#creating.values()].map(({ done }) => done));
    }
    await this.#evictor.settled();
  }

  /** Ends every zygote and what was forked from it; idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.settled();
    for (const node of this.#tree.nodes()) {
      if (node.depth > 1) continue;
      for (const dead of this.#tree.removeSubtree(node)) this.#evictor.end(dead);
    }
    await this.#evictor.settled();
  }

  #needOf(installed: InstalledPackages): Need {
    const known = this.#needs.get(installed);
    if (known !== undefined) return known;
    const need = needOf(installed);
    this.#needs.set(installed, need);
    return need;
  }

  /** Starts at most one zygote for a lambda that spent time on imports; nobody waits for it. */
  #consider(need: Need): void {
    if (this.off || this.#creating.size >= ZYGOTE_CREATIONS_MAX) return;
    if (this.#noRoom.blocked(need.key) !== null) return;
    this.#evictor.endRetired();
    let lacksRoom = false;
    const view = { tree: this.#tree, demand: this.#demand, costs: this.#costs };
    for (const candidate of planZygotes(need, view)) {
      const { key } = candidate;
      if (this.#creating.has(key) || this.#backoff.blocked(key) !== null) continue;
      if (this.#makeRoom(candidate)) {
        this.#noRoom.succeeded(need.key);
        this.#createUnwatched(candidate);
        return;
      }
      lacksRoom = true;
    }
    if (lacksRoom) this.#noRoom.failed(need.key, null);
  }

  #makeRoom(candidate: Candidate): boolean {
    if (this.#tree.size + this.#creating.size >= ZYGOTES_MAX_COUNT) return false;
    let reservedBytes = candidate.memoryBytes;
    for (const { memoryBytes } of this.#creating.values()) reservedBytes += memoryBytes;
    const lackBytes = this.#evictor.usedBytes + reservedBytes - this.#options.budgetBytes;
    return lackBytes <= 0 || this.#evictor.freeFor(lackBytes, candidate);
  }

  #createUnwatched(candidate: Candidate, replaces?: ZygoteNode): void {
    void this.#create(candidate, 0).then(
      () => {
        if (replaces !== undefined) this.#evictor.retire(replaces);
        else this.#rebalance();
        return null;
      },
      () => null, // Counted, reported and backed off already.
    );
  }

  #create(candidate: Candidate, pins: number): Promise<void> {
    const { key, memoryBytes } = candidate;
    const done = this.#createNow(candidate, pins).finally(() => {
      this.#creating.delete(key);
    });
    this.#creating.set(key, { memoryBytes, done });
    return done;
  }

  async #createNow(candidate: Candidate, pins: number): Promise<void> {
    const { host } = this.#options;
    const { key, parent, units, packages } = candidate;
    this.#sequence += 1;
    const id = `zygote-${this.#sequence}`;
    const added = bottomUp(candidate.added);
    if (parent !== null) parent.pins += 1;
    try {
      const imports = added.map(({ module }) => module);
      const made = await host.createZygote(parent?.id ?? null, {
        id,
        packages: [...packages.values()],
        imports,
      });
      if (parent !== null && this.#tree.get(parent.id) !== parent) {
        throw new Error("the zygote that it was forked from has died");
      }
      const importUs = believable(made.importUs);
      const memoryBytes = host.memoryBytes(id);
      this.#costs.learn(added, parent?.units ?? new Map(), { importUs, memoryBytes });
      const whole = new Map([...(parent?.units ?? []), ...units]);
      const node = this.#tree.add({ id, parent, units: whole, packages, importUs, memoryBytes });
      // What it would have served counts as served, or it would be the first to be evicted again.
      node.demand.add(candidate.weight);
      node.pins = pins;
      this.#backoff.succeeded(key);
      this.#counts.creations += 1;
      this.#evictor.shrink();
    } catch (error) {
      this.#counts.failures += 1;
      this.#backoff.failed(key, error);
      await host.destroyZygote(id).catch(() => {});
      this.#options.onFailure?.(
        added.map(({ module }) => module),
        error,
      );
      throw error;
    } finally {
      if (parent !== null) parent.pins -= 1;
    }
  }

  /** Makes one idle zygote anew below a better parent that came after it: they then share memory. */
  #rebalance(): void {
    if (this.off || this.#creating.size >= ZYGOTE_CREATIONS_MAX) return;
    const found = findMisplaced(this.#tree, (node) => this.#evictor.isIdle(node));
    if (found === null) return;
    const { node, parent } = found;
    const key = `${setKey(node.units.values())}\nbelow ${parent.id}`;
    if (this.#creating.has(key) || this.#backoff.blocked(key) !== null) return;
    const added = [...node.units.values()].filter((unit) => !parent.units.has(unit.key));
    const { memoryBytes } = this.#costs.estimate(added, parent.units);
    if (this.#evictor.usedBytes + memoryBytes > this.#options.budgetBytes) return;
    const { units, packages } = node;
    const weight = node.demand.value;
    const again = { key, parent, units, added, packages, memoryBytes, weight, density: 0 };
    this.#createUnwatched(again, node);
  }
}
