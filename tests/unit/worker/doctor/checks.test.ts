/** Each check against a machine that lacks one thing; what can be taken away for real is in tests/e2e. */

import { describe, expect, test } from "bun:test";
import type { CgroupHost } from "../../../../src/cgroup/contract.ts";
import type {
  DoctorHost,
  DoctorRequest,
  Finding,
  ProgramResult,
} from "../../../../src/worker/doctor/contract.ts";
import { examine } from "../../../../src/worker/doctor/doctor.ts";

const DONE: ProgramResult = { exitCode: 0, stdout: "", stderr: "" };
const MISSING: ProgramResult = { exitCode: null, stdout: "", stderr: "" };

const CGROUPS: CgroupHost = {
  version: "v2",
  missing: [],
  gaps: [],
  describe: () => "cgroup v2",
  openRoot: () => {
    throw new Error("looking must not open anything");
  },
};

/** Answers of the programs of a machine that has everything. */
function runWell(argv: readonly string[]): ProgramResult {
  if (argv[0]?.endsWith("python3") !== true) return DONE;
  const stdout = argv.includes("pip") ? "pip 23.0.1 from /x (python 3.11)\n" : "cpython 3 11\n";
  return { ...DONE, stdout };
}

/** A machine on which all is well but for what is given. */
function machine(parts: Partial<DoctorHost> = {}): DoctorHost {
  return {
    uid: 0,
    kernelRelease: "6.1.0-18-amd64",
    readText: (path) =>
      path.includes("seccomp") ? "kill_process kill_thread errno allow\n" : null,
    which: (program) => `/usr/bin/${program}`,
    run: runWell,
    cgroups: () => CGROUPS,
    tryMountCalls: () => null,
    trySeccomp: () => null,
    tryIoUring: () => null,
    tryPort: () => null,
    diskSpace: () => ({ freeBytes: 2 ** 40, freeFiles: 10 ** 6 }),
    dockerProblem: () => Promise.resolve(null),
    openFilesMax: () => 1_048_576,
    ...parts,
  };
}

const REQUEST: DoctorRequest = {
  directory: "/srv",
  baseDir: null,
  ports: [8080, 9000],
  dockerSocket: "/var/run/docker.sock",
};

async function findingsOf(parts: Partial<DoctorHost>): Promise<{
  bad: readonly Finding[];
  isUsable: boolean;
}> {
  const { findings, isUsable } = await examine(machine(parts), REQUEST);
  return { bad: findings.filter(({ status }) => status !== "ok"), isUsable };
}

describe("examine()", () => {
  test("finds nothing on a machine that has everything", async () => {
    expect(await findingsOf({})).toEqual({ bad: [], isUsable: true });
  });

  const cases: {
    what: string;
    parts: Partial<DoctorHost>;
    id: string;
    status: Finding["status"];
    found: RegExp;
    mend: RegExp;
  }[] = [
    {
      what: "an old kernel",
      parts: { kernelRelease: "5.10.0-28-amd64" },
      id: "kernel",
      status: "fail",
      found: /5\.10\.0/,
      mend: /5\.12/,
    },
    {
      what: "a kernel without mount_setattr",
      parts: { tryMountCalls: () => ({ call: "mount_setattr", errnoName: "ENOSYS" }) },
      id: "mount-calls",
      status: "fail",
      found: /mount_setattr fails with ENOSYS/,
      mend: /upgrade the kernel/,
    },
    {
      what: "a container that forbids open_tree",
      parts: { tryMountCalls: () => ({ call: "open_tree", errnoName: "EPERM" }) },
      id: "mount-calls",
      status: "fail",
      found: /open_tree fails with EPERM/,
      mend: /--privileged/,
    },
    {
      what: "namespaces that unshare cannot make",
      parts: {
        run: (argv) =>
          argv[0] === "unshare"
            ? {
                exitCode: 1,
                stdout: "",
                stderr: "unshare: unshare failed: Operation not permitted\n",
              }
            : runWell(argv),
      },
      id: "namespaces",
      status: "fail",
      found: /Operation not permitted/,
      mend: /user_namespaces/,
    },
    {
      what: "user namespaces that sysctl forbids",
      parts: {
        readText: (path) =>
          path.endsWith("max_user_namespaces") ? "0\n" : machine().readText(path),
      },
      id: "namespaces",
      status: "fail",
      found: /max_user_namespaces is 0/,
      mend: /^sysctl -w user\.max_user_namespaces=/,
    },
    {
      what: "a kernel without seccomp",
      parts: { readText: () => null },
      id: "seccomp",
      status: "fail",
      found: /no seccomp/,
      mend: /CONFIG_SECCOMP_FILTER/,
    },
    {
      what: "a container that forbids filters",
      parts: { trySeccomp: () => "EPERM" },
      id: "seccomp",
      status: "fail",
      found: /PR_SET_SECCOMP\) fails with EPERM/,
      mend: /--privileged/,
    },
    {
      what: "a kernel whose seccomp cannot kill processes",
      parts: { readText: (path) => (path.includes("seccomp") ? "errno allow" : null) },
      id: "seccomp",
      status: "fail",
      found: /lacks kill_process/,
      mend: /4\.14/,
    },
    {
      what: "a kernel without io_uring",
      parts: { tryIoUring: () => "ENOSYS" },
      id: "io-uring",
      status: "warn",
      found: /io_uring_setup fails with ENOSYS/,
      mend: /CONFIG_IO_URING=y/,
    },
    {
      what: "a kernel that keeps io_uring from all but root",
      parts: {
        readText: (path) => (path.endsWith("io_uring_disabled") ? "1\n" : machine().readText(path)),
      },
      id: "io-uring",
      status: "warn",
      found: /io_uring_disabled is 1/,
      mend: /^sysctl -w kernel\.io_uring_disabled=0/,
    },
    {
      what: "no memory controller",
      parts: {
        cgroups: () => ({
          ...CGROUPS,
          gaps: [{ what: "memory", disables: "limits", mend: "cgroup_enable=memory", fatal: true }],
        }),
      },
      id: "cgroup-memory",
      status: "fail",
      found: /no memory/,
      mend: /cgroup_enable=memory/,
    },
    {
      what: "no CPU figures",
      parts: {
        cgroups: () => ({
          ...CGROUPS,
          gaps: [{ what: "cpuacct", disables: "figures", mend: "mount it", fatal: false }],
        }),
      },
      id: "cgroup-cpuacct",
      status: "warn",
      found: /no cpuacct/,
      mend: /mount it/,
    },
    {
      what: "no pip",
      parts: {
        run: (argv) =>
          argv.includes("pip")
            ? { ...DONE, exitCode: 1, stderr: "No module named pip" }
            : runWell(argv),
      },
      id: "pip",
      status: "warn",
      found: /no pip/,
      mend: /python3-pip/,
    },
    {
      what: "an old Python",
      parts: {
        run: (argv) =>
          argv[0]?.endsWith("python3") === true ? { ...DONE, stdout: "cpython 3 7\n" } : DONE,
      },
      id: "python",
      status: "fail",
      found: /cpython 3 7/,
      mend: /python3/,
    },
    {
      what: "missing programs",
      parts: { which: (program) => (program === "mount" ? null : `/usr/bin/${program}`) },
      id: "programs",
      status: "fail",
      found: /no mount/,
      mend: /apt-get install mount/,
    },
    {
      what: "a taken port",
      parts: { tryPort: (port) => (port === 9000 ? "EADDRINUSE" : null) },
      id: "port-9000",
      status: "warn",
      found: /9000 is taken/,
      mend: /--port/,
    },
    {
      what: "a full disk",
      parts: { diskSpace: () => ({ freeBytes: 5_000_000, freeFiles: 10 ** 6 }) },
      id: "disk",
      status: "warn",
      found: /only 4 MiB/,
      mend: /free space/,
    },
    {
      what: "a disk without inodes",
      parts: { diskSpace: () => ({ freeBytes: 2 ** 40, freeFiles: 12 }) },
      id: "disk",
      status: "warn",
      found: /12 files/,
      mend: /free space/,
    },
    {
      what: "few open files",
      parts: { openFilesMax: () => 1024 },
      id: "open-files",
      status: "warn",
      found: /1024/,
      mend: /LimitNOFILE/,
    },
    {
      what: "a Docker socket of somebody else's",
      parts: { dockerProblem: () => Promise.resolve("no Docker daemon answers at /x (EACCES)") },
      id: "docker",
      status: "warn",
      found: /EACCES/,
      mend: /group docker/,
    },
    {
      what: "a check that breaks",
      parts: {
        openFilesMax: () => {
          throw new Error("odd host");
        },
      },
      id: "open-files",
      status: "warn",
      found: /odd host/,
      mend: /report/,
    },
  ];
  for (const { what, parts, id, status, found, mend } of cases) {
    test(`names ${what}, what it disables and the remedy`, async () => {
      const { bad, isUsable } = await findingsOf(parts);
      const blamed = bad.filter((finding) => finding.status !== "skip");
      expect(blamed.map((finding) => [finding.id, finding.status])).toEqual([[id, status]]);
      expect(bad[0]?.found).toMatch(found);
      expect(bad[0]?.mend).toMatch(mend);
      expect(bad[0]?.disables).not.toBe(null);
      expect(isUsable).toBe(status !== "fail");
    });
  }

  test("says for an ordinary user what can be said", async () => {
    const { bad, isUsable } = await findingsOf({ uid: 1000, tryMountCalls: () => null });
    expect(bad.map(({ id, status }) => `${id} ${status}`)).toEqual([
      "user fail",
      "mount-calls skip",
    ]);
    expect(isUsable).toBe(false);
  });

  test("knows the settings that bind ordinary users only", async () => {
    const readText = (path: string): string | null =>
      path.endsWith("apparmor_restrict_unprivileged_userns") ? "1\n" : machine().readText(path);
    expect((await findingsOf({ readText })).isUsable).toBe(true);
    const { bad } = await findingsOf({ readText, uid: 1000 });
    expect(bad.map(({ id }) => id)).toContain("namespaces");
  });

  test("says of a host without Python how to get one", async () => {
    const run = (argv: readonly string[]): ProgramResult =>
      argv[0]?.endsWith("python3") === true ? MISSING : DONE;
    const { bad } = await findingsOf({ run });
    expect(bad.map(({ id, status }) => `${id} ${status}`)).toEqual(["python fail", "pip skip"]);
    expect(bad[0]?.mend).toContain("apt-get install python3");
  });
});
