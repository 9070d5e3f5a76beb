/**
 * Decides which zygote would help next. Candidates for a lambda are what it declares, and what it has in
 * common with others: the common part, being used more, usually comes first, and the rest is then forked
 * from it. Pure: looks at the tree, changes nothing.
 */

import {
  ZYGOTE_DEPTH_MAX,
  ZYGOTE_PLAN_PROFILES_MAX,
  ZYGOTE_PLAN_SETS_MAX,
  ZYGOTE_WORTH_MIN_US,
} from "../common/zygote-limits.ts";
import type { PackageDir } from "../sandbox/contract.ts";
import type { CostModel } from "./costs.ts";
import type { Demand } from "./demand.ts";
import { impliedUnits, isSubset, setKey, type Need, type Unit, type UnitSet } from "./need.ts";
import type { ZygoteNode, ZygoteTree } from "./tree.ts";
import type { Work } from "./work.ts";

/** A zygote that could be made. */
export interface Candidate {
  /** Identity of its units. */
  readonly key: string;
  readonly parent: ZygoteNode | null;
  /** All that it will have imported, its parent's included. */
  readonly units: UnitSet;
  /** What it has to import itself. */
  readonly added: readonly Unit[];
  readonly packages: ReadonlyMap<string, PackageDir>;
  readonly memoryBytes: number;
  /** What its own imports are expected to take, in microseconds. */
  readonly importUs: number;
  /** Cold starts of late that it would have served better. */
  readonly weight: number;
  /** Import time that it would have saved them, in microseconds per byte of its memory. */
  readonly density: number;
}

/** What a planning step looks at. */
export interface PlanView {
  readonly tree: ZygoteTree;
  readonly demand: Demand;
  readonly costs: CostModel;
  readonly work: Work;
}

/** A need that could use a new zygote, with what it saves by the ones there are. */
interface User {
  readonly need: Need;
  readonly weight: number;
  readonly savedUs: number;
}

function intersection(need: Need, other: Need): UnitSet {
  const common = new Map<string, Unit>();
  for (const [key, unit] of need.all) {
    const named = need.declared.has(key) || other.declared.has(key);
    if (named && other.all.has(key)) common.set(key, unit);
  }
  return common;
}

/**
 * @param units what it is to import
 * @param need a lambda that has them all
 * @param parent whom it is forked from
 * @returns directories that these imports may load from
 */
export function packagesOf(
  units: Iterable<Unit>,
  need: Need,
  parent: ZygoteNode | null,
): ReadonlyMap<string, PackageDir> {
  const packages = new Map(parent?.packages);
  for (const unit of units) {
    for (const dir of unit.dirs) {
      const found = need.packages.get(dir);
      if (found !== undefined) packages.set(dir, found);
    }
  }
  return new Map([...packages].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** @returns the zygote that holds exactly these units, or null where it exists or would serve nobody better */
function candidate(
  units: UnitSet,
  need: Need,
  users: readonly User[],
  view: PlanView,
): Candidate | null {
  const allowed = impliedUnits(units, need);
  view.work.did(need.all.size + users.length);
  const existing = view.tree.best(allowed);
  if (existing !== null && isSubset(units, existing.units)) return null;
  const parent = view.tree.best(allowed, ZYGOTE_DEPTH_MAX - 1);
  const whole = new Map([...(parent?.units ?? []), ...units]);
  const added = [...units.values()].filter(({ key }) => parent?.units.has(key) !== true);
  const cost = view.costs.estimate(added, parent?.units ?? new Map());
  const savedUs = (parent?.savedUs ?? 0) + cost.importUs;
  let weight = 0;
  let benefitUs = 0;
  for (const user of users) {
    const gainUs = savedUs - user.savedUs;
    if (gainUs < ZYGOTE_WORTH_MIN_US || !isSubset(whole, user.need.all)) continue;
    weight += user.weight;
    benefitUs += user.weight * gainUs;
  }
  if (weight === 0) return null;
  return {
    key: setKey(whole.values()),
    parent,
    units: whole,
    added,
    packages: packagesOf(added, need, parent),
    memoryBytes: cost.memoryBytes,
    importUs: cost.importUs,
    weight,
    density: benefitUs / Math.max(1, cost.memoryBytes),
  };
}

/**
 * @param need of a cold start that had to import something
 * @param view what there is
 * @returns zygotes that would help it and others, the best first
 */
export function planZygotes(need: Need, view: PlanView): readonly Candidate[] {
  const users = view.demand.related(need, ZYGOTE_PLAN_PROFILES_MAX).map((profile) => ({
    need: profile.need,
    weight: profile.count.value,
    savedUs: view.tree.choose(profile.need)?.savedUs ?? 0,
  }));
  const sets = new Map<string, UnitSet>([[need.key, need.declared]]);
  for (const user of users) {
    if (sets.size >= ZYGOTE_PLAN_SETS_MAX) break;
    view.work.did(need.all.size);
    const common = intersection(need, user.need);
    if (common.size > 0) sets.set(setKey(common.values()), common);
  }
  return [...sets.values()]
    .flatMap((units) => candidate(units, need, users, view) ?? [])
    .toSorted((a, b) => b.density - a.density || (a.key < b.key ? -1 : 1));
}

/**
 * A zygote that was made before a better parent for it existed holds memory twice.
 * @param tree all zygotes
 * @param isIdle whether nothing lives that was forked from it
 * @returns one such with its better parent, or null
 */
export function findMisplaced(
  tree: ZygoteTree,
  isIdle: (node: ZygoteNode) => boolean,
): { readonly node: ZygoteNode; readonly parent: ZygoteNode } | null {
  for (const node of tree.nodes()) {
    if (node.retired || node.children.size > 0 || !isIdle(node)) continue;
    let better: ZygoteNode | null = null;
    let savedUs = (node.parent?.savedUs ?? 0) + ZYGOTE_WORTH_MIN_US;
    for (const other of tree.nodes()) {
      if (other.retired || other.depth >= ZYGOTE_DEPTH_MAX || other.savedUs <= savedUs) continue;
      if (other.units.size >= node.units.size || !isSubset(other.units, node.units)) continue;
      better = other;
      savedUs = other.savedUs;
    }
    if (better !== null) return { node, parent: better };
  }
  return null;
}
