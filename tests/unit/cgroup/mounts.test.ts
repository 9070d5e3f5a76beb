import { expect, test } from "bun:test";

import * as fc from "fast-check";

import { directoryOf, ownUnifiedPath, parseMountinfo } from "../../../src/cgroup/mounts.ts";

test("parseMountinfo() finds systemd's hybrid layout with joint controllers", () => {
  const found = parseMountinfo(
    [
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
      "30 22 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate",
      "31 22 0:27 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd",
      "34 22 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    ].join("\n"),
  );
  expect(found.map(({ kind, mountPoint, controllers }) => [kind, mountPoint, controllers])).toEqual(
    [
      ["v2", "/sys/fs/cgroup/unified", []],
      ["v1", "/sys/fs/cgroup/systemd", []],
      ["v1", "/sys/fs/cgroup/cpu,cpuacct", ["cpu", "cpuacct"]],
    ],
  );
});

test("parseMountinfo() prefers a writable mount of the same hierarchy and unescapes paths", () => {
  const found = parseMountinfo(
    [
      "30 22 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw",
      "31 22 0:26 /docker/abc /mnt/my\\040cg rw - cgroup2 cgroup rw",
    ].join("\n"),
  );
  expect(found).toEqual([
    {
      kind: "v2",
      mountPoint: "/mnt/my cg",
      mountRoot: "/docker/abc",
      controllers: [],
      readOnly: false,
    },
  ]);
});

test("parseMountinfo() leaves out a place that a later mount covers", () => {
  const found = parseMountinfo(
    [
      "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw",
      "31 30 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw",
    ].join("\n"),
  );
  expect(found).toEqual([]);
});

test.each([
  ["on its parent directory", ["40 22 0:40 / /sys/fs rw - tmpfs tmpfs rw"]],
  [
    "on the mount that it lies in",
    ["29 22 0:25 / /sys rw - sysfs sysfs rw", "40 22 0:40 / /sys rw - tmpfs tmpfs rw"],
  ],
  ["exactly on the directory that holds it", ["40 22 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw"]],
])("parseMountinfo() leaves out what a mount hides that was made later %s", (_, later) => {
  const lines = [
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
    "30 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw",
    "31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    ...later,
  ];
  expect(parseMountinfo(lines.join("\n"))).toEqual([]);
});

test("parseMountinfo() finds what is mounted anew inside the mount that hides the old", () => {
  const found = parseMountinfo(
    [
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
      "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw",
      "40 22 0:40 / /sys/fs rw - tmpfs tmpfs rw",
      "41 40 0:26 /sub /sys/fs/cgroup rw - cgroup2 cgroup rw",
    ].join("\n"),
  );
  expect(found.map(({ mountPoint, mountRoot }) => [mountPoint, mountRoot])).toEqual([
    ["/sys/fs/cgroup", "/sub"],
  ]);
});

test("parseMountinfo() is not misled by neighbours, by what lies below, or by a mount over /", () => {
  const found = parseMountinfo(
    [
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
      "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw",
      "40 22 0:40 / /sys/fs/cgr rw - tmpfs tmpfs rw",
      "41 30 0:41 / /sys/fs/cgroup/below rw - tmpfs tmpfs rw",
      "42 22 0:42 / / rw - tmpfs tmpfs rw",
    ].join("\n"),
  );
  expect(found.map(({ mountPoint }) => mountPoint)).toEqual(["/sys/fs/cgroup"]);
});

test("parseMountinfo() takes any text without throwing", () => {
  const text = fc.array(
    fc.constantFrom(" ", "-", "cgroup2", "cgroup", "/", "rw", "\n", "\\040", "1"),
  );
  fc.assert(fc.property(text, (parts) => Array.isArray(parseMountinfo(parts.join("")))));
});

test("ownUnifiedPath() reads the line of version 2 only", () => {
  expect(ownUnifiedPath("8:pids:/a\n0::/user.slice/x.scope\n")).toBe("/user.slice/x.scope");
  expect(ownUnifiedPath("8:pids:/a\n")).toBe(null);
});

test("directoryOf() maps a cgroup into what is mounted, or says that it cannot be seen", () => {
  const at = (mountRoot: string, path: string): string | null =>
    directoryOf(
      { kind: "v2", mountPoint: "/m", mountRoot, controllers: [], readOnly: false },
      path,
    );
  expect(at("/", "/")).toBe("/m");
  expect(at("/", "/a/b")).toBe("/m/a/b");
  expect(at("/a", "/a")).toBe("/m");
  expect(at("/a", "/a/b")).toBe("/m/b");
  expect(at("/a", "/ab")).toBe(null);
  expect(at("/", "/../other")).toBe(null);
});
