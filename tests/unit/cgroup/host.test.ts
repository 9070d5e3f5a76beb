/** Detection and placement on hosts that this machine is not, with a simulated kernel. */

import { describe, expect, test } from "bun:test";

import { detectCgroups } from "../../../src/cgroup/host.ts";
import { OlError } from "../../../src/common/errors.ts";
import { type FakeHost, FakeKernel } from "./fake-kernel.ts";

const LIMITS = { memoryMaxBytes: 1 << 20, processesMax: 8, cpuPercent: 50 };
const ALL = ["cpuset", "cpu", "io", "memory", "pids"];
const V2: FakeHost = {
  mountinfo: "30 22 0:26 / /cg rw - cgroup2 cgroup2 rw",
  v2: { "/cg": ALL },
};
const V1: FakeHost = {
  mountinfo: ["memory", "cpu,cpuacct", "pids", "freezer"]
    .map(
      (name, index) =>
        `${40 + index} 22 0:${40 + index} / /cg/${name} rw - cgroup cgroup rw,${name}`,
    )
    .join("\n"),
  ownCgroup: "3:pids:/\n",
  v1: {
    "/cg/memory": ["memory"],
    "/cg/cpu,cpuacct": ["cpu", "cpuacct"],
    "/cg/pids": ["pids"],
    "/cg/freezer": ["freezer"],
  },
};

/** The error that a function throws. */
function thrown(run: () => unknown): OlError {
  try {
    run();
  } catch (error) {
    if (error instanceof OlError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("on pure version 2", () => {
  test("openRoot() enables controllers from the top down and create() makes one directory", () => {
    const kernel = new FakeKernel(V2);
    const host = detectCgroups(kernel);
    expect(host).toMatchObject({ version: "v2", missing: [] });
    expect(host.describe()).toBe(
      "cgroup v2: memory at /cg, cpu at /cg, pids at /cg, freezer at /cg",
    );
    const root = host.openRoot("ol-1");
    expect(root.paths).toEqual(["/cg/ol-1"]);
    expect(kernel.read("/cg/cgroup.subtree_control").trim()).toBe("memory cpu pids");
    expect(kernel.read("/cg/ol-1/cgroup.subtree_control").trim()).toBe("memory cpu pids");
    const cgroup = root.create("a");
    expect(cgroup.joinPaths).toEqual(["/cg/ol-1/a/cgroup.procs"]);
    cgroup.setLimits(LIMITS);
    expect(kernel.read("/cg/ol-1/a/memory.max")).toBe("1048576\n");
    expect(kernel.read("/cg/ol-1/a/memory.swap.max")).toBe("0\n");
    expect(kernel.read("/cg/ol-1/a/memory.oom.group")).toBe("1\n");
    expect(kernel.read("/cg/ol-1/a/pids.max")).toBe("8\n");
    expect(kernel.read("/cg/ol-1/a/cpu.max")).toBe("50000 100000\n");
    const writes = kernel.writes.length;
    cgroup.setLimits({ ...LIMITS });
    expect(kernel.writes.length).toBe(writes);
    cgroup.setLimits({ ...LIMITS, processesMax: 9 });
    expect(kernel.writes.slice(writes)).toEqual(["/cg/ol-1/a/pids.max 9"]);
  });

  test("openRoot() stays in a cgroup that is the worker's alone, stepping aside, and remove() undoes it", async () => {
    const kernel = new FakeKernel({ ...V2, ownCgroup: "0::/svc\n" });
    kernel.write("/cg/cgroup.subtree_control", "+memory");
    kernel.write("/cg/cgroup.subtree_control", "+cpu");
    kernel.write("/cg/cgroup.subtree_control", "+pids");
    kernel.makeDir("/cg/svc");
    kernel.setPids("/cg/svc", [kernel.selfPid]);
    const root = detectCgroups(kernel).openRoot("ol-1");
    expect(root.paths).toEqual(["/cg/svc/ol-1"]);
    expect(kernel.pidsIn("/cg/svc/openlambda-worker")).toEqual([kernel.selfPid]);
    await root.remove();
    await root.remove();
    expect(kernel.pidsIn("/cg/svc")).toEqual([kernel.selfPid]);
    expect(kernel.childDirs("/cg/svc")).toEqual([]);
  });

  describe("in a service that starts several workers", () => {
    const inService = (ownCgroup: string): FakeKernel => {
      const kernel = new FakeKernel({ ...V2, ownCgroup });
      for (const name of ["+memory", "+cpu", "+pids"]) {
        kernel.write("/cg/cgroup.subtree_control", name);
      }
      kernel.makeDir("/cg/svc");
      return kernel;
    };

    test("openRoot() takes those of the same executable along", () => {
      const kernel = inService("0::/svc\n");
      kernel.alsoOurs.add(12).add(13);
      kernel.setPids("/cg/svc", [12, kernel.selfPid, 13]);
      expect(detectCgroups(kernel).openRoot("ol-1").paths).toEqual(["/cg/svc/ol-1"]);
      expect(kernel.pidsIn("/cg/svc")).toEqual([]);
      expect(kernel.pidsIn("/cg/svc/openlambda-worker").toSorted((a, b) => a - b)).toEqual([
        12,
        13,
        kernel.selfPid,
      ]);
    });

    test.each(["openlambda-worker", ".control"])(
      "openRoot() lies beside the others' when it starts in %s, and the last one cleans up",
      async (leaf) => {
        const kernel = inService(`0::/svc/${leaf}\n`);
        kernel.makeDir(`/cg/svc/${leaf}`);
        if (leaf === ".control") kernel.makeDir("/cg/svc/openlambda-worker");
        for (const name of ["+memory", "+cpu", "+pids"]) {
          kernel.write("/cg/svc/cgroup.subtree_control", name);
        }
        kernel.alsoOurs.add(12);
        kernel.setPids("/cg/svc/openlambda-worker", [12]);
        if (leaf === ".control") kernel.setPids("/cg/svc/.control", [kernel.selfPid]);
        else kernel.setPids("/cg/svc/openlambda-worker", [12, kernel.selfPid]);
        const root = detectCgroups(kernel).openRoot("ol-1");
        expect(root.paths).toEqual(["/cg/svc/ol-1"]);
        expect(kernel.pidsIn("/cg/svc/openlambda-worker")).toContain(kernel.selfPid);
        await root.remove();
        expect(kernel.childDirs("/cg/svc")).toContain("openlambda-worker");
      },
    );
  });

  test("openRoot() goes to the top when its own cgroup holds others, and moves nobody", () => {
    const kernel = new FakeKernel({ ...V2, ownCgroup: "0::/session\n" });
    kernel.makeDir("/cg/session");
    kernel.setPids("/cg/session", [1, kernel.selfPid]);
    expect(detectCgroups(kernel).openRoot("ol-1").paths).toEqual(["/cg/ol-1"]);
    expect(kernel.pidsIn("/cg/session")).toEqual([1, kernel.selfPid]);
  });

  test("openRoot() says what is in the way in a container whose top holds other processes", () => {
    const kernel = new FakeKernel({ ...V2, realRoot: false });
    kernel.setPids("/cg", [1, kernel.selfPid]);
    const error = thrown(() => detectCgroups(kernel).openRoot("ol-1"));
    expect(error.code).toBe("host_unsupported");
    expect(error.message).toContain("/cg holds processes that are not ours");
    expect(error.message).toContain("Delegate=yes");
    expect(kernel.childDirs("/cg")).toEqual([]);
    expect(kernel.pidsIn("/cg")).toEqual([1, kernel.selfPid]);
  });

  test("openRoot() works alone in a container", () => {
    const kernel = new FakeKernel({ ...V2, realRoot: false });
    kernel.setPids("/cg", [kernel.selfPid]);
    expect(detectCgroups(kernel).openRoot("ol-1").paths).toEqual(["/cg/ol-1"]);
  });

  test("detectCgroups() names a controller that is switched off and openRoot() how to mend it", () => {
    const kernel = new FakeKernel({
      ...V2,
      v2: { "/cg": ["cpu", "pids"] },
      procCgroups: "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\n",
    });
    const host = detectCgroups(kernel);
    expect(host.missing).toEqual(["memory"]);
    const error = thrown(() => host.openRoot("ol-1"));
    expect(error.code).toBe("host_unsupported");
    expect(error.message).toContain("no memory (needed for the memory limit of sandboxes");
    expect(error.message).toContain("cgroup_enable=memory");
  });

  test("detectCgroups() reports a read-only mount and the command that mends it", () => {
    const kernel = new FakeKernel({ ...V2, mountinfo: V2.mountinfo.replace(" rw ", " ro ") });
    const host = detectCgroups(kernel);
    expect(host.missing).toContain("memory");
    expect(host.gaps[0]?.mend).toBe("mount -o remount,rw /cg");
  });

  test.each(["EACCES", "EROFS"])("openRoot() explains %s", (errno) => {
    const kernel = new FakeKernel({ ...V2, refuse: { "/cg/cgroup.subtree_control": errno } });
    const error = thrown(() => detectCgroups(kernel).openRoot("ol-1"));
    expect(error.code).toBe("host_unsupported");
    expect(error.message).toContain(errno);
  });

  test("killAll() uses one write where the kernel can, and kills strays nowhere else", () => {
    const kernel = new FakeKernel(V2);
    const root = detectCgroups(kernel).openRoot("ol-1");
    const cgroup = root.create("a");
    kernel.setPids("/cg/ol-1", [7]);
    kernel.setPids("/cg/ol-1/a", [10, 11]);
    cgroup.killAll();
    expect(kernel.killed).toEqual([10, 11]);
    expect(kernel.writes.at(-1)).toBe("/cg/ol-1/a/cgroup.kill 1");
  });

  test("openRoot() says what is missing where version 2 cannot freeze yet", () => {
    const kernel = new FakeKernel({ ...V2, kernel: 5.01 });
    const error = thrown(() => detectCgroups(kernel).openRoot("ol-1"));
    expect(error.code).toBe("host_unsupported");
    expect(error.message).toContain("no cgroup.freeze (Linux 5.2)");
    expect(kernel.childDirs("/cg")).toEqual([]);
  });

  test("killAll() freezes first before Linux 5.14, and thaws", () => {
    const freezing = new FakeKernel({ ...V2, kernel: 5.13 });
    const cgroup = detectCgroups(freezing).openRoot("ol-1").create("a");
    freezing.setPids("/cg/ol-1/a", [10, 11]);
    cgroup.killAll();
    expect(freezing.killed).toEqual([10, 11]);
    expect(freezing.read("/cg/ol-1/a/cgroup.freeze")).toBe("0\n");
  });

  test.each([
    [6.18, true],
    [6.01, false],
    [5.14, true],
  ])("resetUsage() on Linux %d says %p about the peak", (version, can) => {
    const kernel = new FakeKernel({ ...V2, kernel: version });
    const cgroup = detectCgroups(kernel).openRoot("ol-1").create("a");
    kernel.files.set("/cg/ol-1/a/memory.events", "oom 1\noom_kill 3\n");
    kernel.files.set("/cg/ol-1/a/cpu.stat", "usage_usec 500\nthrottled_usec 40\n");
    expect(cgroup.usage()).toMatchObject({ cpuUs: 500, throttledUs: 40, outOfMemoryKills: 3 });
    expect(cgroup.resetUsage(cgroup.usage())).toBe(can);
    expect(cgroup.usage()).toMatchObject({ cpuUs: 0, throttledUs: 0, outOfMemoryKills: 0 });
  });

  test("usage() takes the highest use that was read for the peak before Linux 5.19", () => {
    const kernel = new FakeKernel({ ...V2, kernel: 5.15 });
    const cgroup = detectCgroups(kernel).openRoot("ol-1").create("a");
    kernel.files.set("/cg/ol-1/a/memory.current", "9000\n");
    cgroup.usage();
    kernel.files.set("/cg/ol-1/a/memory.current", "100\n");
    expect(cgroup.usage()).toMatchObject({ memoryBytes: 100, memoryPeakBytes: 9000 });
  });
});

describe("on version 1", () => {
  test("openRoot() uses each hierarchy once and covers children on old kernels", () => {
    const kernel = new FakeKernel(V1);
    const host = detectCgroups(kernel);
    expect(host).toMatchObject({ version: "v1", missing: [], gaps: [] });
    const root = host.openRoot("ol-1");
    expect(root.paths).toEqual([
      "/cg/freezer/ol-1",
      "/cg/memory/ol-1",
      "/cg/pids/ol-1",
      "/cg/cpu,cpuacct/ol-1",
    ]);
    expect(kernel.read("/cg/memory/ol-1/memory.use_hierarchy")).toBe("1\n");
  });

  test("setLimits() keeps the limit with swap above the one without at every moment", () => {
    const kernel = new FakeKernel(V1);
    const cgroup = detectCgroups(kernel).openRoot("ol-1").create("a");
    const order = (): string[] =>
      kernel.writes
        .splice(0)
        .flatMap((line) => /memory\.(\S+) (\d+)$/.exec(line)?.slice(1, 3) ?? []);
    order();
    cgroup.setLimits({ ...LIMITS, memoryMaxBytes: 1000 });
    expect(order()).toEqual(["limit_in_bytes", "1000", "memsw.limit_in_bytes", "1000"]);
    cgroup.setLimits({ ...LIMITS, memoryMaxBytes: 2000 });
    expect(order()).toEqual(["memsw.limit_in_bytes", "2000", "limit_in_bytes", "2000"]);
    cgroup.setLimits({ ...LIMITS, memoryMaxBytes: 500 });
    expect(order()).toEqual(["limit_in_bytes", "500", "memsw.limit_in_bytes", "500"]);
  });

  test("freeze() asks again while the kernel is freezing, and gives up in the end", () => {
    const kernel = new FakeKernel(V1);
    const cgroup = detectCgroups(kernel).openRoot("ol-1").create("a");
    kernel.freezingReads = 5;
    cgroup.freeze();
    expect(cgroup.isFrozen()).toBe(true);
    expect(kernel.writes.filter((line) => line.endsWith("freezer.state FROZEN")).length).toBe(6);
    cgroup.thaw();
    kernel.freezingReads = Number.POSITIVE_INFINITY;
    cgroup.freeze();
    expect(cgroup.isFrozen()).toBe(false);
  });

  test("killAll() forbids forks when freezing fails, and ends what was forked meanwhile", () => {
    const kernel = new FakeKernel(V1);
    const cgroup = detectCgroups(kernel).openRoot("ol-1").create("a");
    const dir = "/cg/freezer/ol-1/a";
    kernel.setPids(dir, [10]);
    kernel.freezingReads = Number.POSITIVE_INFINITY;
    let forks = 0;
    kernel.onKill = (pid) => {
      const allowed = kernel.read("/cg/pids/ol-1/a/pids.max") !== "0\n";
      if (!allowed || forks > 50) return;
      forks += 1;
      kernel.setPids(dir, [...kernel.pidsIn(dir), pid + 100]);
    };
    cgroup.killAll();
    expect(kernel.pidsIn(dir)).toEqual([]);
    expect(kernel.killed).toEqual([10, 110]);
    expect(kernel.read(`${dir}/freezer.state`)).toBe("THAWED\n");
    // The limit comes back with the next borrower.
    cgroup.setLimits(LIMITS);
    expect(kernel.read("/cg/pids/ol-1/a/pids.max")).toBe("8\n");
  });

  test("create() takes back what it made when one hierarchy refuses", () => {
    const kernel = new FakeKernel({ ...V1, refuse: { "/cg/pids/ol-1": "EROFS" } });
    const root = detectCgroups(kernel).openRoot("ol-1");
    expect(thrown(() => root.create("a"))).toMatchObject({ errnoName: "EROFS" });
    for (const path of root.paths) expect(kernel.childDirs(path)).toEqual([]);
  });

  test("detectCgroups() names each missing controller with the mount that mends it", () => {
    const kernel = new FakeKernel({
      ...V1,
      mountinfo: V1.mountinfo
        .split("\n")
        .filter((line) => !/pids|freezer/.test(line))
        .join("\n"),
    });
    const host = detectCgroups(kernel);
    expect(host.missing).toEqual(["pids", "freezer"]);
    expect(host.gaps[0]?.mend).toBe("mkdir -p /cg/pids && mount -t cgroup -o pids cgroup /cg/pids");
  });
});

test("a hybrid host with a complete version 1 does without version 2", () => {
  const kernel = new FakeKernel({
    ...V1,
    ownCgroup: "3:pids:/\n0::/\n",
    mountinfo: `${V1.mountinfo}\n50 22 0:50 / /cg/unified rw - cgroup2 cgroup2 rw`,
    v2: { "/cg/unified": [] },
  });
  const host = detectCgroups(kernel);
  expect(host).toMatchObject({ version: "hybrid", missing: [] });
  const root = host.openRoot("ol-1");
  expect(root.paths[0]).toBe("/cg/freezer/ol-1");
  expect(root.paths.join(" ")).not.toContain("unified");
  expect(root.create("a").joinPaths[0]).toBe("/cg/freezer/ol-1/a/tasks");
});

test("a hybrid host without a freezer in version 1 freezes and kills through version 2", () => {
  const kernel = new FakeKernel({
    ...V1,
    ownCgroup: "3:pids:/\n0::/\n",
    mountinfo: `${V1.mountinfo
      .split("\n")
      .filter((line) => !line.includes("freezer"))
      .join("\n")}\n50 22 0:50 / /cg/unified rw - cgroup2 cgroup2 rw`,
    v2: { "/cg/unified": [] },
  });
  const host = detectCgroups(kernel);
  expect(host).toMatchObject({ version: "hybrid", missing: [] });
  expect(host.openRoot("ol-1").paths).toEqual([
    "/cg/unified/ol-1",
    "/cg/memory/ol-1",
    "/cg/pids/ol-1",
    "/cg/cpu,cpuacct/ol-1",
  ]);
});

test("a hybrid host with an old kernel freezes through version 1", () => {
  const kernel = new FakeKernel({
    ...V1,
    kernel: 4.19,
    ownCgroup: "0::/\n",
    mountinfo: `${V1.mountinfo}\n50 22 0:50 / /cg/unified rw - cgroup2 cgroup2 rw`,
    v2: { "/cg/unified": [] },
  });
  expect(detectCgroups(kernel).openRoot("ol-1").paths[0]).toBe("/cg/freezer/ol-1");
});

test("a host without any cgroup is described, and openRoot() says what to mount", () => {
  const host = detectCgroups(new FakeKernel({ mountinfo: "22 1 8:1 / / rw - ext4 /dev/sda1 rw" }));
  expect(host).toMatchObject({ version: "none", missing: ["memory", "cpu", "pids", "freezer"] });
  expect(thrown(() => host.openRoot("ol-1")).message).toContain("mount -t cgroup2");
});

test("openRoot() and create() refuse names that would leave their directory", () => {
  const host = detectCgroups(new FakeKernel(V2));
  const root = host.openRoot("ol-1");
  for (const name of ["", ".", "..", "a/b", "../x", "cgroup.procs", "memory.max", "-x"]) {
    expect(() => host.openRoot(name)).toThrow("name");
    expect(() => root.create(name)).toThrow("name");
  }
});
