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
  ZYGOTE_PROVEN_AFTER_MS,
  ZYGOTE_ROOM_BACKOFF_FIRST_MS,
  ZYGOTE_ROOM_BACKOFF_MAX_MS,
  ZYGOTE_SWEEP_INTERVAL_MS,
  ZYGOTE_WORTH_MIN_US,
  ZYGOTES_MAX_COUNT,
} from "../common/zygote-limits.ts";
import { Backoff } from "../packages/backoff.ts";
import type { InstalledPackages } from "../packages/contract.ts";
import type { ImportCacheStats, ZygoteHost, ZygoteSpec } from "./contract.ts";
import { believable, bottomUp, CostModel } from "./costs.ts";
import { Creations } from "./creations.ts";
import { Demand } from "./demand.ts";
import { everyUnref } from "./every.ts";
import { Evictor } from "./evictor.ts";
import { impliedUnits, needOf, setKey, type Need, type Unit } from "./need.ts";
import { findMisplaced, packagesOf, planZygotes, type Candidate } from "./planner.ts";
import { specOf } from "./spec.ts";
import { ownUnits, ZygoteTree, type ZygoteNode } from "./tree.ts";
import { Work } from "./work.ts";

/** What `ImportCache` needs. */
export interface ImportCacheOptions {
  readonly host: ZygoteHost;
  readonly clock: Clock;
  /** `import_cache_size` in bytes; 0 switches the cache off. */
  readonly budgetBytes: number;
  /** Told of every zygote that could not be made; default: nobody. */
  readonly onFailure?: (modules: readonly string[], error: unknown) => void;
  /**
   * Told of zygotes over the budget that only their sandboxes hold, the least useful first: whoever ends
   * the idle ones among those lets the zygotes go. Default: nobody.
   */
  readonly onPinned?: (zygoteIds: readonly string[]) => void;
  /** Told of each change of `memoryBytes`; default: nobody. */
  readonly onMemory?: (bytes: number) => void;
  /** Calls something regularly until what it returns is called; default: a timer that keeps nobody up. */
  readonly every?: (intervalMs: number, run: () => void) => () => void;
}

/** A zygote lent to one cold start: it does not end before it is given back. */
export interface ZygoteLease {
  /** Whom to fork from; null: the root. */
  readonly zygote: string | null;
  /** Declared modules that it has not imported. */
  readonly imports: readonly string[];
  /**
   * Gives it back; idempotent, and of `release` and `failed` the first counts.
   * @param importUs time that the new sandbox spent on imports, in microseconds; null where it ended
   *   for a reason that says nothing of the zygote
   */
  release(importUs: number | null): void;
  /**
   * Gives it back because the lambda did not come up: its process hung, died or broke the protocol
   * before its first answer. A zygote on which that happens again and again is given up.
   */
  failed(): void;
}

/** How a zygote is made. */
interface CreateOptions {
  /** Identity of the need that asks for it. */
  readonly needKey?: string;
  /** Whether it stays whatever the demand. */
  readonly isKept?: boolean;
}

/** The import cache of one worker. */
export class ImportCache {
  readonly #options: ImportCacheOptions;
  readonly #tree: ZygoteTree;
  readonly #demand: Demand;
  readonly #work: Work;
  readonly #costs: CostModel;
  readonly #evictor: Evictor;
  /** Zygotes that failed or died, by identity of their units. */
  readonly #backoff: Backoff<unknown>;
  /** Needs for whose zygotes there was no room. */
  readonly #noRoom: Backoff<null>;
  readonly #needs = new WeakMap<InstalledPackages, Need>();
  readonly #creations: Creations;
  /** What is to be there whatever the demand, by identity of the unit. */
  readonly #preloads = new Map<string, { readonly unit: Unit; readonly need: Need }>();
  readonly #stopSweeping: () => void;
  readonly #counts = { hits: 0, misses: 0, creations: 0, failures: 0, deaths: 0 };
  #sequence = 0;
  #toldBytes = 0;
  #closed = false;

  /** @param options host, time and budget */
  constructor(options: ImportCacheOptions) {
    this.#options = options;
    this.#tree = new ZygoteTree(options.clock);
    this.#work = new Work(options.clock);
    this.#costs = new CostModel(this.#work);
    this.#demand = new Demand(options.clock);
    const onMemory = (): void => {
      this.#tellMemory();
    };
    this.#evictor = new Evictor(this.#tree, options.host, options.budgetBytes, onMemory);
    this.#creations = new Creations(onMemory);
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
    this.#stopSweeping = (options.every ?? everyUnref)(ZYGOTE_SWEEP_INTERVAL_MS, () => {
      this.#sweep();
    });
  }

  /** Memory of all zygotes, as last measured, with what those in the making are expected to take; in bytes. */
  get memoryBytes(): number {
    return this.#evictor.heldBytes + this.#creations.memoryBytes;
  }

  /** Looks at units, profiles and pairs of them that plans have taken so far. */
  get planSteps(): number {
    return this.#work.steps;
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
      return { zygote: null, imports: installed.imports, release: () => {}, failed: () => {} };
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
    const giveBack = (): boolean => {
      if (released) return false;
      released = true;
      if (node !== null) node.pins -= 1;
      return true;
    };
    return {
      zygote: node?.id ?? null,
      imports: missing.map(({ module }) => module),
      failed: () => {
        if (giveBack() && node?.health.failed(need) === true) this.#giveUp(node);
      },
      release: (importUs) => {
        if (!giveBack() || importUs === null) return;
        node?.health.loaded();
        if (missing.length === 0) return;
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
    const need = this.#needOf(installed);
    const units = bottomUp(need.declared.values());
    if (!this.off) for (const unit of units) this.#preloads.set(unit.key, { unit, need });
    for (const unit of units) {
      if (this.off) return;
      const wanted = this.#preloadOf(unit, need);
      if (wanted !== null) await this.#create(wanted, { isKept: true });
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
    const key = setKey(node.units.values());
    // Being made is no proof of health: one that dies at its first fork would be made again each second.
    const livedMs = (this.#options.clock.nowUs() - node.sinceUs) / 1000;
    if (livedMs >= ZYGOTE_PROVEN_AFTER_MS) this.#backoff.succeeded(key);
    this.#backoff.failed(key, null);
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
        imports: ownUnits(node).map(({ module }) => module),
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
    while (this.#creations.size > 0) await this.#creations.settled();
    await this.#evictor.settled();
  }

  /** Ends every zygote and what was forked from it, those in the making too; idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopSweeping();
    const { host } = this.#options;
    await Promise.allSettled(this.#creations.ids.map((id) => host.destroyZygote(id)));
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
    if (this.off || this.#creations.size >= ZYGOTE_CREATIONS_MAX) return;
    if (this.#creations.hasFor(need.key) || this.#noRoom.blocked(need.key) !== null) return;
    this.#evictor.endRetired();
    if (!this.#work.mayPlan()) return;
    let lacksRoom = false;
    const view = { tree: this.#tree, demand: this.#demand, costs: this.#costs, work: this.#work };
    for (const candidate of planZygotes(need, view)) {
      const { key } = candidate;
      if (this.#creations.has(key) || this.#backoff.blocked(key) !== null) continue;
      if (this.#makeRoom(candidate)) {
        this.#noRoom.succeeded(need.key);
        this.#createUnwatched(candidate, { needKey: need.key });
        return;
      }
      lacksRoom = true;
    }
    if (lacksRoom) this.#noRoom.failed(need.key, null);
  }

  #makeRoom(candidate: Candidate): boolean {
    if (this.#tree.size + this.#creations.size >= ZYGOTES_MAX_COUNT) return false;
    const reservedBytes = candidate.memoryBytes + this.#creations.memoryBytes;
    const lackBytes = this.#evictor.usedBytes + reservedBytes - this.#options.budgetBytes;
    return lackBytes <= 0 || this.#evictor.freeFor(lackBytes, candidate);
  }

  #createUnwatched(candidate: Candidate, how: CreateOptions, replaces?: ZygoteNode): void {
    void this.#create(candidate, how).then(
      () => {
        if (replaces !== undefined) this.#evictor.retire(replaces);
        else this.#rebalance();
        return null;
      },
      () => null, // Counted, reported and backed off already.
    );
  }

  #create(candidate: Candidate, how: CreateOptions): Promise<void> {
    this.#sequence += 1;
    const id = `zygote-${this.#sequence}`;
    const leftBytes =
      this.#options.budgetBytes - this.#evictor.usedBytes - this.#creations.memoryBytes;
    const spec = specOf(id, candidate, how.isKept === true ? null : leftBytes);
    const { key, memoryBytes } = candidate;
    const what = { id, needKey: how.needKey ?? null, memoryBytes };
    return this.#creations.run(key, what, () => this.#createNow(candidate, spec, how));
  }

  async #createNow(candidate: Candidate, spec: ZygoteSpec, how: CreateOptions): Promise<void> {
    const { host } = this.#options;
    const { key, parent, units, packages, added } = candidate;
    const { id } = spec;
    if (parent !== null) parent.pins += 1;
    try {
      const made = await host.createZygote(parent?.id ?? null, spec);
      if (parent !== null && this.#tree.get(parent.id) !== parent) {
        throw new Error("the zygote that it was forked from has died");
      }
      if (this.#closed) throw new Error("the import cache is closed");
      const importUs = believable(made.importUs);
      const memoryBytes = host.memoryBytes(id);
      this.#costs.learn(added, parent?.units ?? new Map(), { importUs, memoryBytes });
      const whole = new Map([...(parent?.units ?? []), ...units]);
      const node = this.#tree.add({ id, parent, units: whole, packages, importUs, memoryBytes });
      // What it would have served counts as served, or it would be the first to be evicted again.
      node.demand.add(candidate.weight);
      node.isKept = how.isKept === true;
      this.#counts.creations += 1;
      this.#evictor.shrink();
    } catch (error) {
      await host.destroyZygote(id).catch(() => {});
      if (!this.#closed) this.#failed(key, spec.imports, error);
      throw error;
    } finally {
      if (parent !== null) parent.pins -= 1;
    }
  }

  #failed(key: string, modules: readonly string[], error: unknown): void {
    this.#counts.failures += 1;
    this.#backoff.failed(key, error);
    this.#options.onFailure?.(modules, error);
  }

  /** Takes a zygote out of use; it ends when what runs on it has ended. */
  #giveUp(node: ZygoteNode): void {
    if (this.#tree.get(node.id) !== node || node.retired) return;
    const modules = [...node.units.values()].map(({ module }) => module);
    const error = new Error("lambdas that are forked from it do not load");
    this.#failed(setKey(node.units.values()), modules, error);
    node.isKept = false;
    this.#evictor.retire(node);
  }

  /** What nobody's call brings about: memory that grew, zygotes that were to stay and died or are to move. */
  #sweep(): void {
    if (this.off) return;
    this.#evictor.endRetired();
    this.#evictor.shrink();
    this.#tellMemory();
    const overBytes = this.#evictor.usedBytes - this.#options.budgetBytes;
    if (overBytes > 0) {
      const ids = this.#evictor.heldBySandboxes(overBytes);
      if (ids.length > 0) this.#options.onPinned?.(ids);
    }
    for (const { unit, need } of this.#preloads.values()) {
      if (this.#creations.size >= ZYGOTE_CREATIONS_MAX) return;
      const wanted = this.#preloadOf(unit, need);
      if (wanted === null || this.#backoff.blocked(wanted.key) !== null) continue;
      if (!this.#creations.has(wanted.key)) this.#createUnwatched(wanted, { isKept: true });
    }
    // One that was in use when its better parent came is idle by now, perhaps.
    this.#rebalance();
  }

  #preloadOf(unit: Unit, need: Need): Candidate | null {
    const units = new Map([[unit.key, unit]]);
    const allowed = impliedUnits(units, need);
    if (this.#tree.best(allowed)?.units.has(unit.key) === true) return null;
    const parent = this.#tree.best(allowed, ZYGOTE_DEPTH_MAX - 1);
    const cost = this.#costs.estimate([unit], parent?.units ?? new Map());
    const packages = packagesOf([unit], need, parent);
    const whole = new Map([...(parent?.units ?? []), ...units]);
    const key = setKey(whole.values());
    return { key, parent, units, added: [unit], packages, ...cost, weight: 1, density: 0 };
  }

  #tellMemory(): void {
    const { memoryBytes } = this;
    if (memoryBytes === this.#toldBytes) return;
    this.#toldBytes = memoryBytes;
    this.#options.onMemory?.(memoryBytes);
  }

  /** Makes one idle zygote anew below a better parent that came after it: they then share memory. */
  #rebalance(): void {
    if (this.off || this.#creations.size >= ZYGOTE_CREATIONS_MAX) return;
    const found = findMisplaced(this.#tree, (node) => this.#evictor.isIdle(node));
    if (found === null) return;
    const { node, parent } = found;
    const key = `${setKey(node.units.values())}\nbelow ${parent.id}`;
    if (this.#creations.has(key) || this.#backoff.blocked(key) !== null) return;
    const added = [...node.units.values()].filter((unit) => !parent.units.has(unit.key));
    const cost = this.#costs.estimate(added, parent.units);
    if (this.#evictor.usedBytes + cost.memoryBytes > this.#options.budgetBytes) return;
    const { units, packages } = node;
    const weight = node.demand.value;
    const again = { key, parent, units, added, packages, ...cost, weight, density: 0 };
    this.#createUnwatched(again, {}, node);
  }
}
