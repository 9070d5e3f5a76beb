import { expect, test } from "bun:test";

import type { Cgroup, CgroupLimits } from "../../../../src/cgroup/contract.ts";
import { ZYGOTE_CHILD_BYTES, ZYGOTE_CHILDREN_FIRST } from "../../../../src/common/zygote-limits.ts";
import { ZygoteShare } from "../../../../src/sandbox/sock/zygote-share.ts";
import { waitFor } from "../../../helpers/wait-for.ts";

const MIB = 1024 * 1024;

function open(): { share: ZygoteShare; set: CgroupLimits[]; errors: unknown[] } {
  const set: CgroupLimits[] = [];
  const errors: unknown[] = [];
  const cgroup = { setLimits: (limits: CgroupLimits) => set.push(limits) } as unknown as Cgroup;
  return { share: new ZygoteShare(cgroup, (error) => errors.push(error), 100 * MIB), set, errors };
}

test("a zygote has a whole CPU while it imports, little at rest, and a whole one for forks", async () => {
  const { share, set } = open();
  expect(set.map(({ cpuPercent }) => cpuPercent)).toEqual([100]);
  share.rest();
  await waitFor(() => set.at(-1)?.cpuPercent === 10, "it is at rest");
  const before = set.length;
  share.used(1);
  share.used(2);
  // Not at once: the request for the fork goes out first.
  expect(set).toHaveLength(before);
  await waitFor(() => set.at(-1)?.cpuPercent === 100, "it may work");
  expect(set).toHaveLength(before + 1);
  await waitFor(() => set.at(-1)?.cpuPercent === 10, "it is at rest again");
  share.close();
});

test("its memory has room for the first pages of as many children as it has", async () => {
  const { share, set } = open();
  expect(set.at(-1)?.memoryMaxBytes).toBe(100 * MIB + ZYGOTE_CHILDREN_FIRST * ZYGOTE_CHILD_BYTES);
  const twice = 100 * MIB + 2 * ZYGOTE_CHILDREN_FIRST * ZYGOTE_CHILD_BYTES;
  share.used(ZYGOTE_CHILDREN_FIRST);
  await waitFor(() => set.at(-1)?.memoryMaxBytes === twice, "there is room for more");
  share.used(1);
  await waitFor(() => set.length === 3, "it is applied");
  expect(set.at(-1)?.memoryMaxBytes).toBe(twice);
  share.close();
});

test("nothing is set once it is closed", async () => {
  const { share, set } = open();
  share.used(1);
  share.close();
  share.rest();
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  expect(set).toHaveLength(1);
});
