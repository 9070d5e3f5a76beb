/**
 * Program that plays one scene, argv[2], in a mount namespace of its own, on the empty directory
 * argv[3], and prints what came of it. Everything it mounts is gone with it.
 */

import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";

import { errnoNameOf } from "../../../../src/common/errors.ts";
import * as constants from "../../../../src/sys/constants.ts";
import * as mounts from "../../../../src/sys/mount.ts";
import { isClosedOnExec, PYTHON } from "../../../unit/sys/child.ts";
import { leaveHost } from "../leave-host.ts";

const [, , scene = "", dir = ""] = process.argv;

/** Name of the error with which something failed, `ok` where it did not. */
function outcome(run: () => unknown): string {
  try {
    run();
    return "ok";
  } catch (error) {
    return errnoNameOf(error) ?? String(error);
  }
}

/** Makes directories below the scene's own. */
function makeDirs(...names: readonly string[]): void {
  for (const name of names) mkdirSync(`${dir}/${name}`);
}

/** Flags of the file system behind a descriptor, as statvfs(3) has them. */
function mountFlags(fd: number): unknown {
  const program = "import os\nprint(os.fstatvfs(3).f_flag & (os.ST_RDONLY | os.ST_NOSUID | 4))";
  const child = Bun.spawnSync([PYTHON, "-I", "-S", "-c", program], {
    stdio: ["ignore", "pipe", "inherit", fd],
  });
  return Number(child.stdout?.toString());
}

const write = (path: string): string => outcome(() => writeFileSync(`${dir}/${path}`, "x"));

/** A tree with a mount in it: `tree/inner` is a tmpfs that holds `deep`. */
function plantTree(): void {
  makeDirs("tree", "tree/inner", "copy");
  writeFileSync(`${dir}/tree/file`, "of the tree");
  mounts.mount("probe", `${dir}/tree/inner`, "tmpfs", 0, "size=64k");
  writeFileSync(`${dir}/tree/inner/deep`, "of the inner mount");
}

function sceneTmpfs(): unknown {
  makeDirs("small");
  const flags = constants.MS_NOSUID | constants.MS_NOEXEC;
  mounts.mount("probe", `${dir}/small`, "tmpfs", flags, "size=64k,mode=700");
  const script = `${dir}/small/script`;
  writeFileSync(script, "#!/bin/sh\nexit 0\n", { mode: 0o755 });
  const line = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .find((it) => it.includes(`${dir}/small `));
  return {
    tooMuch: outcome(() => writeFileSync(`${dir}/small/large`, Buffer.alloc(128 * 1024))),
    executed: outcome(() => Bun.spawnSync([script])),
    options: line?.split(" ")[3]?.split(","),
  };
}

function sceneBind(): unknown {
  plantTree();
  mounts.bindMount(`${dir}/tree`, `${dir}/copy`);
  const alone = { files: readdirSync(`${dir}/copy`), inner: readdirSync(`${dir}/copy/inner`) };
  makeDirs("whole");
  mounts.bindMount(`${dir}/tree`, `${dir}/whole`, constants.MS_REC);
  const whole = { files: readdirSync(`${dir}/whole`), inner: readdirSync(`${dir}/whole/inner`) };
  writeFileSync(`${dir}/whole/file`, "changed");
  return { alone, whole, through: readFileSync(`${dir}/tree/file`, "utf8") };
}

function sceneDetached(): unknown {
  plantTree();
  const fd = mounts.openTreeClone(`${dir}/tree`);
  const before = mountFlags(fd);
  const all =
    constants.MOUNT_ATTR_RDONLY | constants.MOUNT_ATTR_NOSUID | constants.MOUNT_ATTR_NODEV;
  mounts.setDetachedMountAttributes(fd, all);
  const path = `/proc/self/fd/${fd}`;
  const seen = {
    before,
    after: mountFlags(fd),
    isClosedOnExec: isClosedOnExec(fd),
    files: readdirSync(path),
    text: readFileSync(`${path}/file`, "utf8"),
    inner: readdirSync(`${path}/inner`),
    written: outcome(() => writeFileSync(`${path}/file`, "x")),
    original: write("tree/file"),
  };
  closeSync(fd);
  return seen;
}

function sceneTree(): unknown {
  plantTree();
  mounts.bindMount(`${dir}/tree`, `${dir}/tree`, constants.MS_REC);
  writeFileSync(`${dir}/beside`, "");
  mounts.setMountTreeAttributes(`${dir}/tree`, constants.MOUNT_ATTR_RDONLY);
  return {
    tree: write("tree/file"),
    inner: write("tree/inner/deep"),
    beside: write("beside"),
    text: readFileSync(`${dir}/tree/inner/deep`, "utf8"),
  };
}

function sceneErrors(): unknown {
  makeDirs("plain", "other");
  mounts.mount("probe", `${dir}/other`, "tmpfs", 0);
  makeDirs("other/below");
  return {
    mountTarget: outcome(() => mounts.mount("probe", `${dir}/missing`, "tmpfs", 0)),
    mountType: outcome(() => mounts.mount("probe", `${dir}/plain`, "no-such-type", 0)),
    mountData: outcome(() => mounts.mount("probe", `${dir}/plain`, "tmpfs", 0, "size=much")),
    bindSource: outcome(() => mounts.bindMount(`${dir}/missing`, `${dir}/plain`)),
    openTree: outcome(() => mounts.openTreeClone(`${dir}/missing`)),
    notAMount: outcome(() => mounts.setMountTreeAttributes(`${dir}/plain`, 1n)),
    unknownAttribute: outcome(() => mounts.setMountTreeAttributes("/", 1n << 40n)),
    badDescriptor: outcome(() => mounts.setDetachedMountAttributes(999_999, 1n)),
    pivotToNoMount: outcome(() => mounts.pivotInto(`${dir}/other/below`)),
    pivotToNothing: outcome(() => mounts.pivotInto(`${dir}/missing`)),
  };
}

function scenePivot(): unknown {
  makeDirs("root", "root/proc", "root/lib");
  writeFileSync(`${dir}/root/marker`, "the new root");
  mounts.bindMount(`${dir}/root`, `${dir}/root`);
  mounts.bindMount("/proc", `${dir}/root/proc`, constants.MS_REC);
  mounts.pivotInto(`${dir}/root`);
  writeFileSync("/written", "inside");
  return {
    root: readdirSync("/"),
    marker: readFileSync("/marker", "utf8"),
    workingDir: process.cwd(),
    relative: readdirSync("."),
    above: readdirSync("/.."),
    hostSeen: existsSync(dir),
    mountPoints: readFileSync("/proc/self/mounts", "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[1] ?? "")
      .filter((path) => !path.startsWith("/proc")),
  };
}

const SCENES: Readonly<Record<string, () => unknown>> = {
  tmpfs: sceneTmpfs,
  bind: sceneBind,
  detached: sceneDetached,
  tree: sceneTree,
  errors: sceneErrors,
  pivot: scenePivot,
};

leaveHost();
writeSync(1, JSON.stringify(SCENES[scene]?.()));
