/** The mount calls of `src/sys` against the kernel, each scene in a mount namespace of its own. */

import { describe, expect } from "bun:test";

import { requires } from "../../helpers/requires.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { outputOf, ownProgram, startChild } from "../../unit/sys/child.ts";

const SCENES = import.meta.resolve("./programs/mount-scenes.ts");

/** Linux 5.12 has mount_setattr. */
const asRoot = requires({ root: true, kernel: "5.12" });

async function play(scene: string): Promise<unknown> {
  using dir = tempDir();
  return JSON.parse(await outputOf(startChild(ownProgram(SCENES, scene, dir.path))));
}

describe("mount()", () => {
  asRoot("passes flags and options on to the kernel", async () => {
    expect(await play("tmpfs")).toEqual({
      tooMuch: "ENOSPC",
      executed: "EACCES",
      options: expect.arrayContaining(["rw", "nosuid", "noexec", "size=64k", "mode=700"]),
    });
  });

  asRoot("and its kin throw the kernel's errno when it refuses", async () => {
    expect(await play("errors")).toEqual({
      mountTarget: "ENOENT",
      mountType: "ENODEV",
      mountData: "EINVAL",
      bindSource: "ENOENT",
      openTree: "ENOENT",
      notAMount: "EINVAL",
      unknownAttribute: "EINVAL",
      badDescriptor: "EBADF",
      pivotToNoMount: "EINVAL",
      pivotToNothing: "ENOENT",
    });
  });
});

describe("bindMount()", () => {
  asRoot("takes the mounts below along only when asked to", async () => {
    const files = expect.arrayContaining(["file", "inner"]);
    expect(await play("bind")).toEqual({
      alone: { files, inner: [] },
      whole: { files, inner: ["deep"] },
      through: "changed",
    });
  });
});

describe("openTreeClone()", () => {
  asRoot("returns a mount of its own that setDetachedMountAttributes() closes off", async () => {
    const ST_RDONLY_NOSUID_NODEV = 1 | 2 | 4;
    expect(await play("detached")).toEqual({
      before: 0,
      after: ST_RDONLY_NOSUID_NODEV,
      isClosedOnExec: true,
      files: expect.arrayContaining(["file", "inner"]),
      text: "of the tree",
      // Only this one mount was cloned: what is mounted below stays out.
      inner: [],
      written: "EROFS",
      original: "ok",
    });
  });
});

describe("setMountTreeAttributes()", () => {
  asRoot("makes a mount and all below it read-only, and nothing beside it", async () => {
    expect(await play("tree")).toEqual({
      tree: "EROFS",
      inner: "EROFS",
      beside: "ok",
      text: "of the inner mount",
    });
  });
});

describe("pivotInto()", () => {
  asRoot("leaves nothing of the old root within reach of synchronous calls", async () => {
    const all = ["lib", "marker", "proc", "written"];
    const seen = (await play("pivot")) as Record<string, string[]>;
    for (const name of ["root", "relative", "above"]) {
      expect(seen[name]?.toSorted()).toEqual(all);
    }
    expect(seen).toMatchObject({
      marker: "the new root",
      workingDir: "/",
      hostSeen: false,
      mountPoints: ["/"],
    });
  });
});
