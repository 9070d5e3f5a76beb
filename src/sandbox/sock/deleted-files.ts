/**
 * Files that have no name any more and that processes hold open: they fill the disk all the same, and
 * no walk over a tree finds them.
 */

import { readdirSync, statSync } from "node:fs";
import { isEnough, type TreeUsage, unlessVanished, type Walk } from "./tree-usage.ts";

/**
 * @param pids of the sandbox
 * @param isOver asked now and then whether enough is known
 * @param usage what is added to
 * @throws {Error} the system's error where the host refuses to look; what vanishes meanwhile is left out
 */
export async function deletedFilesUsage(
  pids: readonly number[],
  isOver: (usage: TreeUsage) => boolean,
  usage: TreeUsage,
): Promise<void> {
  const walk: Walk = { usage, isOver, looks: 0 };
  const seen = new Set<string>();
  for (const pid of pids) {
    const dir = `/proc/${pid}/fd`;
    for (const fd of unlessVanished(() => readdirSync(dir)) ?? []) {
      if (await isEnough(walk)) return;
      const stat = unlessVanished(() => statSync(`${dir}/${fd}`));
      if (stat === null || !stat.isFile() || stat.nlink > 0) continue;
      const id = `${stat.dev}:${stat.ino}`;
      if (seen.has(id)) continue;
      seen.add(id);
      usage.bytes += stat.blocks * 512;
      usage.entries += 1;
    }
  }
}
