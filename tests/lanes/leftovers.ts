/**
 * What a privileged lane leaves on the machine. Each lane gets a temporary directory of its own as
 * TMPDIR, so that everything its tests make carries that path somewhere: clusters lie in it,
 * workers have it in their arguments, sandboxes in their mount tables.
 */

import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expectNoLeaks, leakSnapshot } from "../helpers/leaks.ts";

/** Start of the names of our cgroups; their paths do not hold the temporary directory. */
const CGROUP_NAME = "openlambda";

/** Libraries unpack native code here and cannot be told otherwise; not made by our tests. */
const FOREIGN_FILES = /\.node$|^bunx?-|^node-compile-cache$|^pip-|^npm-|^\.bun/;

/** The machine before a lane. */
export interface LaneGround {
  /** TMPDIR of the lane; short, because socket paths have 108 bytes. */
  readonly tempDir: string;
  /**
   * Compares, then removes the directory.
   * @returns what the lane left behind, one line each
   */
  leftovers(): Promise<string[]>;
}

/** Ends what is reported: every process there carries the lane's directory, so it is ours. */
function killMarked(lines: readonly string[]): void {
  for (const line of lines) {
    const pid = /^\s*process (\d+) started/.exec(line)?.[1];
    if (pid === undefined) continue;
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It ended by itself.
    }
  }
}

/** Unmounts what the lane left, deepest first, so that the next lane starts from a clean machine. */
function unmountMarked(lines: readonly string[], tempDir: string): void {
  const targets = lines.flatMap((line) => /^\s*mount (\S+) \(/.exec(line)?.[1] ?? []);
  for (const target of targets.toSorted().toReversed()) {
    if (target.startsWith(tempDir)) Bun.spawnSync(["umount", "-l", target]);
  }
}

/** @returns the state of the machine before a lane, with a directory for it to work in */
export function prepareGround(): LaneGround {
  const tempDir = mkdtempSync(join(tmpdir(), "olt-"));
  // Tests run programs as other users to show what those can do.
  chmodSync(tempDir, 0o711);
  const before = leakSnapshot();
  const leftovers = async (): Promise<string[]> => {
    const lines: string[] = [];
    try {
      await expectNoLeaks(before, { marks: [tempDir], deadCgroups: CGROUP_NAME });
    } catch (error) {
      const [, ...found] = String(error instanceof Error ? error.message : error).split("\n");
      killMarked(found);
      unmountMarked(found, tempDir);
      lines.push(...found.map((line) => line.trim()));
    }
    const files = readdirSync(tempDir).filter((name) => !FOREIGN_FILES.test(name));
    lines.push(...files.map((name) => `file ${join(tempDir, name)}`));
    try {
      rmSync(tempDir, { recursive: true, force: true });
    } catch (error) {
      lines.push(`directory that cannot be removed: ${String(error)}`);
    }
    return lines;
  };
  return { tempDir, leftovers };
}
