/** What a fuzz target is: a property that the runner tries with ever new seeds until the time is up. */

import type { IAsyncProperty, IProperty } from "fast-check";

/** A property with any arguments. */
export type AnyProperty = IProperty<unknown> | IAsyncProperty<unknown>;

/** One thing that is fuzzed. */
export interface Target {
  readonly name: string;
  /** Cases per seed: enough to be quick to replay. */
  readonly runs: number;
  readonly property: AnyProperty;
}

/**
 * @param name for the report and for `--only`
 * @param runs cases per seed
 * @param property from fast-check
 * @returns the target
 */
export function target<T>(
  name: string,
  runs: number,
  property: IProperty<T> | IAsyncProperty<T>,
): Target {
  return { name, runs, property };
}
