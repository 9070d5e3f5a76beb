/**
 * How much a sandbox has written that is writing at the same time. It may swap any name for a link at
 * any moment, so each directory is opened through its parent's descriptor and never followed
 * through a link.
 */

import { closeSync, constants, lstatSync, openSync, readdirSync } from "node:fs";
import { errnoNameOf } from "../../common/errors.ts";
import { TREE_WALK_DEPTH_MAX, TREE_WALK_PAUSE_ENTRIES } from "../../common/limits.ts";

const OPEN_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** What was found so far. */
export interface TreeUsage {
  /** Allocated on the disk. */
  bytes: number;
  entries: number;
  /** Whether something lies too deep to be counted. */
  isTooDeep: boolean;
}

/** One look at what there is. */
export interface Walk {
  readonly usage: TreeUsage;
  readonly isOver: (usage: TreeUsage) => boolean;
  looks: number;
}

/** What a sandbox does to its names and processes, as opposed to what the host refuses. */
const VANISHED = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ESRCH"]);

/**
 * @param look one system call
 * @returns null where what was to be looked at is gone or something else by now
 */
export function unlessVanished<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (VANISHED.has(errnoNameOf(error) ?? "")) return null;
    throw error;
  }
}

/**
 * Lets the worker do something else now and then.
 * @param walk of which this is one step
 * @returns whether enough is known
 */
export async function isEnough(walk: Walk): Promise<boolean> {
  walk.looks += 1;
  if (walk.looks % TREE_WALK_PAUSE_ENTRIES !== 1) return false;
  await Bun.sleep(0);
  return walk.isOver(walk.usage);
}

/**
 * Adds up a tree, without holding up the thread for long.
 * @param dir its top
 * @param isOver asked now and then whether enough is known
 * @param usage what is added to
 * @throws {Error} the system's error where the host refuses to look; what vanishes meanwhile is left out
 */
export async function treeUsage(
  dir: string,
  isOver: (usage: TreeUsage) => boolean,
  usage: TreeUsage,
): Promise<void> {
  await visit(dir, { usage, isOver, looks: 0 }, 0);
}

async function visit(path: string, walk: Walk, depth: number): Promise<void> {
  if (depth > TREE_WALK_DEPTH_MAX) {
    walk.usage.isTooDeep = true;
    return;
  }
  const fd = unlessVanished(() => openSync(path, OPEN_FLAGS));
  if (fd === null) return;
  try {
    const own = `/proc/self/fd/${fd}`;
    for (const name of unlessVanished(() => readdirSync(own)) ?? []) {
      if (await isEnough(walk)) return;
      const stat = unlessVanished(() => lstatSync(`${own}/${name}`));
      if (stat === null) continue;
      walk.usage.entries += 1;
      walk.usage.bytes += stat.blocks * 512;
      if (stat.isDirectory()) await visit(`${own}/${name}`, walk, depth + 1);
      if (walk.usage.isTooDeep) return;
    }
  } finally {
    closeSync(fd);
  }
}
