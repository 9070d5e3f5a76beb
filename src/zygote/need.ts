/**
 * What a lambda can use, as sets of units. A unit is a module together with the exact distributions that
 * importing it may load, so equal keys mean equal imports: numpy 1.26 and 2.1 are different units, and so is
 * requests beside an optional dependency that it would pick up.
 */

import { ZYGOTE_UNITS_MAX_COUNT } from "../common/zygote-limits.ts";
import type { ImportUnit, InstalledPackages } from "../packages/contract.ts";
import type { PackageDir } from "../sandbox/contract.ts";

/** A unit with its identity. */
export interface Unit extends ImportUnit {
  readonly key: string;
}

/** Units by key. */
export type UnitSet = ReadonlyMap<string, Unit>;

/** One lambda's packages as the import cache sees them. */
export interface Need {
  /** Identity of what is declared. */
  readonly key: string;
  /** Every unit that a zygote for this lambda may hold. */
  readonly all: UnitSet;
  /** Those that the lambda named, `ZYGOTE_UNITS_MAX_COUNT` at most. */
  readonly declared: UnitSet;
  readonly packages: ReadonlyMap<string, PackageDir>;
}

/** Closures have hundreds of directories. Hostile packages choose their names, so collisions must be hard to make. */
function digest(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("base64");
}

/**
 * @param units any
 * @returns one short text for the set, whatever the order
 */
export function setKey(units: Iterable<Unit>): string {
  const keys = [...units].map(({ key }) => key).toSorted();
  return digest(keys.join("\n"));
}

/**
 * @param installed what the install cache gave for a lambda version
 * @returns it as sets
 */
export function needOf(installed: InstalledPackages): Need {
  const all = new Map<string, Unit>();
  const found: { readonly unit: Unit; readonly place: number }[] = [];
  const counts = new Map<string | undefined, number>();
  for (const unit of installed.units) {
    const key = digest(`${unit.module} ${unit.dirs.join(" ")}`);
    const withKey = { ...unit, key };
    all.set(key, withKey);
    if (!unit.declared) continue;
    const place = counts.get(unit.dirs[0]) ?? 0;
    counts.set(unit.dirs[0], place + 1);
    found.push({ unit: withKey, place });
  }
  // The first of each distribution before the second of any: one with dozens leaves the others theirs.
  const first = found.toSorted((a, b) => a.place - b.place).slice(0, ZYGOTE_UNITS_MAX_COUNT);
  const declared = new Map(first.map(({ unit }) => [unit.key, unit]));
  return {
    key: setKey(declared.values()),
    all,
    declared,
    packages: new Map(installed.dirs.map((one) => [one.dir, one])),
  };
}

/**
 * @param part a set
 * @param whole another
 * @returns whether every unit of `part` is in `whole`
 */
export function isSubset(part: UnitSet, whole: ReadonlyMap<string, unknown>): boolean {
  if (part.size > whole.size) return false;
  for (const key of part.keys()) if (!whole.has(key)) return false;
  return true;
}

/**
 * @param units what is to be imported
 * @param need a lambda that has them all
 * @returns them and every unit that comes with their distributions in any lambda that has them
 */
export function impliedUnits(units: UnitSet, need: Need): UnitSet {
  const dirs = new Set([...units.values()].flatMap((unit) => unit.dirs));
  const implied = new Map(units);
  for (const [key, unit] of need.all) {
    if (unit.standard && unit.dirs.every((dir) => dirs.has(dir))) implied.set(key, unit);
  }
  return implied;
}
