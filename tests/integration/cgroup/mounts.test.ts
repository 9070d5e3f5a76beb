/** What the kernel of this machine shows of mounts that hide each other. */

import { expect } from "bun:test";

import { parseMountinfo } from "../../../src/cgroup/mounts.ts";
import { requires } from "../../helpers/requires.ts";

const test = requires({ root: true, programs: ["unshare", "mount"] });

/** Mounts in a mount namespace of its own, after a shell script ran there. */
function mountinfoAfter(script: string): string {
  const argv = ["unshare", "--mount", "sh", "-ec", `${script}\ncat /proc/self/mountinfo`];
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv);
  if (exitCode !== 0) throw new Error(`Cannot mount: ${stderr.toString()}`);
  return stdout.toString();
}

test("parseMountinfo() finds no hierarchy once a tmpfs lies over all of /sys/fs", () => {
  expect(parseMountinfo(mountinfoAfter("")).length).toBeGreaterThan(0);
  expect(parseMountinfo(mountinfoAfter("mount -t tmpfs none /sys/fs"))).toEqual([]);
  expect(parseMountinfo(mountinfoAfter("mount -t tmpfs none /sys"))).toEqual([]);
});

test("parseMountinfo() finds the hierarchies again once the tmpfs is gone", () => {
  const before = parseMountinfo(mountinfoAfter(""));
  const script = "mount -t tmpfs none /sys/fs\numount /sys/fs";
  expect(parseMountinfo(mountinfoAfter(script))).toEqual(before);
});
