/** The tree of zygotes: who was forked from whom, and which one a lambda may fork from. */

import type { Clock } from "../common/clock.ts";
import { assert } from "../common/assert.ts";
import type { PackageDir } from "../sandbox/contract.ts";
import { DecayingCount } from "./demand.ts";
import { Health } from "./health.ts";
import { isSubset, type Need, type Unit, type UnitSet } from "./need.ts";

/** One zygote. */
export interface ZygoteNode {
  readonly id: string;
  /** Null: forked from the root. */
  readonly parent: ZygoteNode | null;
  readonly depth: number;
  /** Everything that it has imported, its ancestors' included. */
  readonly units: UnitSet;
  readonly packages: ReadonlyMap<string, PackageDir>;
  /** Measured time of the imports beyond its parent's, in microseconds. */
  readonly importUs: number;
  /** Import time that a lambda saves by forking from it instead of the root, in microseconds. */
  readonly savedUs: number;
  readonly children: Set<ZygoteNode>;
  /** Cold starts from it of late. */
  readonly demand: DecayingCount;
  /** Cold starts from it in all. */
  hits: number;
  memoryBytes: number;
  /** Forks under way: it is not ended meanwhile. */
  pins: number;
  /** Preloaded: not ended for memory. */
  isKept: boolean;
  /** When it was made, in microseconds of the clock. */
  readonly sinceUs: number;
  readonly health: Health;
  /** Replaced by another: takes no new forks, and ends when the last one is gone. */
  retired: boolean;
}

/** What `ZygoteTree.add` needs to know. */
export interface NewZygote {
  readonly id: string;
  readonly parent: ZygoteNode | null;
  readonly units: UnitSet;
  readonly packages: ReadonlyMap<string, PackageDir>;
  readonly importUs: number;
  readonly memoryBytes: number;
}

/** All zygotes below the root, which itself imports nothing. */
export class ZygoteTree {
  readonly #clock: Clock;
  readonly #nodes = new Map<string, ZygoteNode>();
  readonly #top = new Set<ZygoteNode>();

  /** @param clock where time comes from */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Zygotes that exist. */
  get size(): number {
    return this.#nodes.size;
  }

  /** @returns every zygote, parents before children */
  nodes(): readonly ZygoteNode[] {
    return [...this.#nodes.values()];
  }

  /** @param id of a zygote */
  get(id: string): ZygoteNode | undefined {
    return this.#nodes.get(id);
  }

  /**
   * @param allowed units that the zygote may hold at most
   * @param depthMax deepest one to look at
   * @param user whose failures count; null: anybody
   * @returns the one that saves most, or null where only the root will do
   */
  best(
    allowed: UnitSet,
    depthMax = Number.POSITIVE_INFINITY,
    user: Need | null = null,
  ): ZygoteNode | null {
    let best: ZygoteNode | null = null;
    const open = [...this.#top];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      // Whoever holds too much has only descendants that hold more.
      if (node.depth > depthMax || !isSubset(node.units, allowed)) continue;
      const isUsable = !node.retired && !(user !== null && node.health.fails(user));
      if (isUsable && (best === null || isBetter(node, best))) best = node;
      open.push(...node.children);
    }
    return best;
  }

  /**
   * @param need a lambda's
   * @returns the zygote to fork it from, or null for the root
   */
  choose(need: Need): ZygoteNode | null {
    return this.best(need.all, Number.POSITIVE_INFINITY, need);
  }

  /** @param zygote that now exists */
  add(zygote: NewZygote): ZygoteNode {
    const { parent, importUs } = zygote;
    assert(!this.#nodes.has(zygote.id), "a zygote's id is used once");
    assert(
      parent === null || isSubset(parent.units, zygote.units),
      "a child holds what its parent holds",
    );
    const node: ZygoteNode = {
      ...zygote,
      depth: (parent?.depth ?? 0) + 1,
      savedUs: (parent?.savedUs ?? 0) + importUs,
      children: new Set(),
      demand: new DecayingCount(this.#clock),
      hits: 0,
      pins: 0,
      isKept: false,
      sinceUs: this.#clock.nowUs(),
      health: new Health(),
      retired: false,
    };
    this.#nodes.set(node.id, node);
    (parent?.children ?? this.#top).add(node);
    return node;
  }

  /**
   * @param node of this tree
   * @returns it and all below, children before parents, now out of the tree
   */
  removeSubtree(node: ZygoteNode): readonly ZygoteNode[] {
    const removed: ZygoteNode[] = [];
    const open = [node];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      removed.push(next);
      this.#nodes.delete(next.id);
      open.push(...next.children);
    }
    (node.parent?.children ?? this.#top).delete(node);
    return removed.toReversed();
  }
}

/**
 * @param node of a tree
 * @returns what it has imported beyond its parent
 */
export function ownUnits({ units, parent }: ZygoteNode): readonly Unit[] {
  return [...units.values()].filter(({ key }) => parent?.units.has(key) !== true);
}

function isBetter(a: ZygoteNode, b: ZygoteNode): boolean {
  if (a.savedUs !== b.savedUs) return a.savedUs > b.savedUs;
  if (a.units.size !== b.units.size) return a.units.size > b.units.size;
  return a.id < b.id;
}
