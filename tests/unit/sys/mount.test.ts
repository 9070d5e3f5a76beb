/**
 * What the mount calls refuse before the kernel is asked. What they do is seen in mount namespaces
 * of their own, in `tests/integration/probes`.
 */

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { setFaultPlan } from "../../../src/sys/libc.ts";
import {
  bindMount,
  mount,
  moveNoMount,
  openTreeClone,
  pivotNowhere,
  setMountTreeAttributes,
} from "../../../src/sys/mount.ts";
import { failureOf } from "./failure.ts";

/** C would take each for `/no/such`, which is not what was meant. */
const CUT = "/no/such\0/base";

const CALLS: Readonly<Record<string, () => unknown>> = {
  "a source": () => mount(CUT, "/no/such", "", 0),
  "a target": () => mount("none", CUT, "tmpfs", 0),
  "a directory that is bound": () => bindMount(CUT, "/no/such"),
  "where it is bound": () => bindMount("/no/such", CUT),
  "a cloned directory": () => openTreeClone(CUT),
  "a mount point": () => setMountTreeAttributes(CUT, 1n),
};

describe("a path with a NUL byte", () => {
  for (const [what, run] of Object.entries(CALLS)) {
    test(`is refused as ${what}`, () => {
      expect(failureOf(run)).toMatchObject({ call: "path", errnoName: "EINVAL" });
    });
  }
});

describe("the text of a failed mount", () => {
  beforeEach(() => setFaultPlan(() => 1));
  afterEach(() => setFaultPlan(null));

  test("names what was to be mounted where, and how", () => {
    const text = (run: () => void): string => failureOf(run).message;
    expect(text(() => mount("dev", "/a", "tmpfs", 10, "size=64k"))).toBe(
      "Cannot mount(dev, /a, tmpfs, 10, size=64k): EPERM",
    );
    expect(text(() => bindMount("/a", "/b", 16_384))).toBe(
      "Cannot mount(/a, /b, , 20480, ): EPERM",
    );
    expect(text(() => setMountTreeAttributes("/a", 3n))).toBe(
      "Cannot mount_setattr(/a, set 0x3): EPERM",
    );
  });
});

describe("a call that is made to see whether it may be", () => {
  const isRoot = process.getuid?.() === 0;

  test.each([
    ["move_mount", moveNoMount, "EBADF"],
    ["pivot_root", pivotNowhere, "ENOENT"],
  ] as const)(
    "%s is refused for its arguments, and where it may not be for that",
    (call, run, as) => {
      const mounts = readFileSync("/proc/self/mountinfo", "utf8");
      expect(failureOf(run)).toMatchObject({ call, errnoName: isRoot ? as : "EPERM" });
      expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(mounts);
    },
  );
});
