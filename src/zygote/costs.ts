/**
 * What importing a unit costs, in time and memory, as learned from zygotes and cold starts. Estimates
 * decide only what is built first; what is kept is decided by measurements.
 */

import {
  ZYGOTE_COSTS_MAX_COUNT,
  ZYGOTE_IMPORT_GUESS_US,
  ZYGOTE_IMPORT_MAX_US,
  ZYGOTE_MEMORY_GUESS_BYTES,
} from "../common/zygote-limits.ts";
import type { Unit, UnitSet } from "./need.ts";
import type { Work } from "./work.ts";

/** Cost of importing something. */
export interface Cost {
  readonly importUs: number;
  readonly memoryBytes: number;
}

/** Whatever is imported already, a module of its own costs at least this part of its whole. */
const OWN_PART_MIN = 0.05;
const GUESS: Cost = { importUs: ZYGOTE_IMPORT_GUESS_US, memoryBytes: ZYGOTE_MEMORY_GUESS_BYTES };

function scaled(cost: Cost, time: number, memory = time): Cost {
  return { importUs: cost.importUs * time, memoryBytes: cost.memoryBytes * memory };
}

/** Costs of units when nothing else is imported yet. */
export class CostModel {
  readonly #known = new Map<string, Cost>();
  /** Those among them of which only cold starts have told, so that nobody has measured their memory. */
  readonly #heard = new Set<string>();
  readonly #work: Work;

  /** @param work where steps are counted */
  constructor(work: Work) {
    this.#work = work;
  }

  /**
   * @param added units to import
   * @param covered units that are imported already
   * @returns what that will cost, about
   */
  estimate(added: Iterable<Unit>, covered: UnitSet): Cost {
    const done = new Map(covered);
    let importUs = 0;
    let memoryBytes = 0;
    for (const unit of bottomUp(added)) {
      const own = this.#own(unit, done);
      importUs += own.importUs;
      memoryBytes += own.memoryBytes;
      done.set(unit.key, unit);
    }
    return { importUs, memoryBytes };
  }

  /**
   * @param added units that were imported
   * @param covered units that had been imported before
   * @param measured what that cost
   */
  learn(added: Iterable<Unit>, covered: UnitSet, measured: Cost): void {
    const units = bottomUp(added);
    const estimated = this.estimate(units, covered);
    const timeRatio = believable(measured.importUs) / Math.max(1, estimated.importUs);
    const memoryRatio = measured.memoryBytes / Math.max(1, estimated.memoryBytes);
    const done = new Map(covered);
    const learned: (readonly [string, Cost])[] = [];
    for (const unit of units) {
      const whole = this.#whole(unit);
      const own = this.#own(unit, done);
      learned.push([
        unit.key,
        this.#isShared(unit, done)
          ? scaled(whole, timeRatio, memoryRatio)
          : {
              importUs: Math.max(0, whole.importUs - own.importUs) + own.importUs * timeRatio,
              memoryBytes:
                Math.max(0, whole.memoryBytes - own.memoryBytes) + own.memoryBytes * memoryRatio,
            },
      ]);
      done.set(unit.key, unit);
    }
    for (const [key, cost] of learned) this.#remember(key, cost);
    for (const { key } of units) this.#heard.delete(key);
  }

  /**
   * A cold start's own word on its imports: believed only where nothing was measured.
   * @param units what it had to import
   * @param covered what its zygote had imported
   * @param importUs how long it says that took
   */
  hear(units: readonly Unit[], covered: UnitSet, importUs: number): void {
    if (units.length === 0 || units.some(({ key }) => this.#known.has(key))) return;
    const { memoryBytes } = this.estimate(units, covered);
    this.learn(units, covered, { importUs, memoryBytes });
    for (const { key } of units) this.#heard.add(key);
  }

  #whole(unit: Unit): Cost {
    return this.#known.get(unit.key) ?? GUESS;
  }

  #own(unit: Unit, done: UnitSet): Cost {
    const whole = this.#whole(unit);
    if (this.#isShared(unit, done)) return scaled(whole, OWN_PART_MIN);
    const dirs = new Set(unit.dirs);
    let { importUs, memoryBytes } = whole;
    this.#work.did(done.size);
    for (const other of done.values()) {
      const part = this.#known.get(other.key);
      if (part === undefined || other.key === unit.key) continue;
      if (!other.dirs.every((dir) => dirs.has(dir))) continue;
      importUs -= part.importUs;
      memoryBytes -= part.memoryBytes;
    }
    return {
      importUs: Math.max(importUs, whole.importUs * OWN_PART_MIN),
      memoryBytes: Math.max(memoryBytes, whole.memoryBytes * OWN_PART_MIN),
    };
  }

  /** Whether a guess stands for it already: that for another module of its distribution. */
  #isShared(unit: Unit, done: UnitSet): boolean {
    if (!this.#isGuessed(unit)) return false;
    this.#work.did(done.size);
    for (const other of done.values()) {
      if (other.dirs[0] === unit.dirs[0] && this.#isGuessed(other)) return true;
    }
    return false;
  }

  #isGuessed({ key }: Unit): boolean {
    return !this.#known.has(key) || this.#heard.has(key);
  }

  #remember(key: string, cost: Cost): void {
    this.#known.delete(key);
    this.#known.set(key, cost);
    if (this.#known.size > ZYGOTE_COSTS_MAX_COUNT) {
      const oldest = this.#known.keys().next();
      if (oldest.done) return;
      this.#known.delete(oldest.value);
      this.#heard.delete(oldest.value);
    }
  }
}

/**
 * @param importUs a time that a guest reported
 * @returns it within what can be true
 */
export function believable(importUs: number): number {
  return Number.isFinite(importUs) ? Math.min(Math.max(importUs, 0), ZYGOTE_IMPORT_MAX_US) : 0;
}

/**
 * @param units any
 * @returns them with dependencies before what depends on them
 */
export function bottomUp(units: Iterable<Unit>): readonly Unit[] {
  return [...units].toSorted((a, b) => a.dirs.length - b.dirs.length || (a.key < b.key ? -1 : 1));
}
