/**
 * How much a directory tree holds that a sandbox is writing to at the same time. The sandbox may
 * swap any name for a link at any moment, so each directory is opened through its parent's
 * descriptor and never followed through a link.
 */

import { closeSync, constants, lstatSync, openSync, readdirSync } from "node:fs";
import { TREE_WALK_DEPTH_MAX, TREE_WALK_PAUSE_ENTRIES } from "../../common/limits.ts";

const OPEN_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** What was found so far. */
export interface TreeUsage {
  bytes: number;
  entries: number;
}

interface Walk {
  readonly usage: TreeUsage;
  readonly isOver: (usage: TreeUsage) => boolean;
}

/**
 * Adds up a tree, without holding up the thread for long.
 * @param dir its top
 * @param isOver asked now and then whether enough is known
 * @returns allocated bytes and number of entries; what vanishes meanwhile is left out
 */
export async function treeUsage(
  dir: string,
  isOver: (usage: TreeUsage) => boolean,
): Promise<TreeUsage> {
  const walk: Walk = { usage: { bytes: 0, entries: 0 }, isOver };
  await visit(dir, walk, 0);
  return walk.usage;
}

async function visit(path: string, walk: Walk, depth: number): Promise<void> {
  // A tree deeper than this is only made to be deep: its top levels are counted all the same.
  if (depth > TREE_WALK_DEPTH_MAX) return;
  let fd: number;
  try {
    fd = openSync(path, OPEN_FLAGS);
  } catch {
    return;
  }
  try {
    const own = `/proc/self/fd/${fd}`;
    for (const name of readdirSync(own)) {
      if (walk.usage.entries % TREE_WALK_PAUSE_ENTRIES === 0) {
        await Bun.sleep(0);
        if (walk.isOver(walk.usage)) return;
      }
      const stat = lstatSync(`${own}/${name}`, { throwIfNoEntry: false });
      if (stat === undefined) continue;
      walk.usage.entries += 1;
      walk.usage.bytes += stat.blocks * 512;
      if (stat.isDirectory()) await visit(`${own}/${name}`, walk, depth + 1);
    }
  } catch {
    // The directory went away while it was read.
  } finally {
    closeSync(fd);
  }
}
