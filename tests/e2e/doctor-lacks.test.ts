/**
 * `ol doctor` with one thing after the other taken away for real, in a mount namespace or under a filter
 * of system calls, as root and as an ordinary user: the finding is there, its remedy too, and nothing
 * else is blamed.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, existsSync, readFileSync, rmdirSync } from "node:fs";

import type { Finding, Report } from "../helpers/doctor-report.ts";
import { OL, ol, type RunResult } from "../helpers/ol.ts";
import { type RefusedCall, refusing } from "../helpers/refused-calls.ts";
import { requires } from "../helpers/requires.ts";
import { tempDir } from "../helpers/temp-dir.ts";

/** What is taken away, and what must be said. */
interface Row {
  readonly what: string;
  /** Run as root in a mount namespace of its own; `/mnt` is an empty file system there. */
  readonly script?: string;
  /** Between the script and the executable. */
  readonly wrap?: readonly string[];
  readonly ids: readonly string[];
  readonly status: "warn" | "fail";
  readonly mend: RegExp;
  /** What only root can find out. */
  readonly isRootOnly?: boolean;
}

const NOBODY = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

const limited = (id: string): string => `cgroup-${id}`;
const LIMITS = ["memory", "cpu", "pids"].map(limited);
const DELEGATED = "ol-doctor-test";

const lacksCall = (call: RefusedCall): Row => ({
  what: `a kernel without ${call}`,
  wrap: refusing([call], "ENOSYS"),
  ids: ["mount-calls"],
  status: "fail",
  mend: /upgrade the kernel/,
  isRootOnly: true,
});

/** Hosts with cgroup v2 only have no such controller to lose. */
const HAS_V1 = / - cgroup \S+ \S*\bmemory\b/m.test(readFileSync("/proc/self/mountinfo", "utf8"));
const UNMOUNT_MEMORY = "umount -l $(findmnt -nro TARGET -t cgroup -O memory)";

const V1_ROWS: readonly Row[] = [
  {
    what: "version 1 without the memory controller",
    script: UNMOUNT_MEMORY,
    ids: ["cgroup-memory"],
    status: "fail",
    mend: /mount -t cgroup -o memory/,
  },
  {
    what: "a memory controller that the kernel's command line switches off",
    script: `${UNMOUNT_MEMORY}; sed 's/^\\(memory\\t.*\\)1$/\\10/' /proc/cgroups > /mnt/c; mount --bind /mnt/c /proc/cgroups`,
    ids: ["cgroup-memory"],
    status: "fail",
    mend: /cgroup_enable=memory/,
  },
];

const ROWS: readonly Row[] = [
  {
    what: "an old kernel",
    wrap: ["/usr/bin/setarch", "--uname-2.6"],
    ids: ["kernel"],
    status: "fail",
    mend: /upgrade to Linux 5\.12/,
  },
  ...(["open_tree", "mount_setattr", "move_mount", "pivot_root"] as const).map(lacksCall),
  {
    what: "a container that forbids mounts",
    wrap: refusing(["open_tree", "mount_setattr", "move_mount", "pivot_root"], "EPERM"),
    ids: ["mount-calls"],
    status: "fail",
    mend: /--privileged/,
    isRootOnly: true,
  },
  {
    what: "a container that forbids namespaces",
    wrap: refusing(["unshare"], "EPERM"),
    ids: ["namespaces"],
    status: "fail",
    mend: /--privileged/,
  },
  {
    what: "a kernel without seccomp",
    script: "mount -t tmpfs none /proc/sys/kernel/seccomp",
    ids: ["seccomp"],
    status: "fail",
    mend: /CONFIG_SECCOMP_FILTER/,
  },
  {
    what: "a container that forbids filters",
    wrap: refusing(["prctl_seccomp"], "EPERM"),
    ids: ["seccomp"],
    status: "fail",
    mend: /--privileged/,
  },
  {
    what: "a kernel without io_uring",
    wrap: refusing(["io_uring_setup"], "ENOSYS"),
    ids: ["io-uring"],
    status: "warn",
    mend: /CONFIG_IO_URING=y/,
  },
  {
    what: "a kernel that keeps io_uring from everybody",
    script: "echo 2 > /mnt/s; mount --bind /mnt/s /proc/sys/kernel/io_uring_disabled",
    ids: ["io-uring"],
    status: "warn",
    mend: /sysctl -w kernel\.io_uring_disabled=0/,
  },
  {
    what: "no cgroup file system",
    script: "mount -t tmpfs none /sys/fs/cgroup",
    ids: [...LIMITS, "cgroup-freezer", "cgroup-cpuacct"],
    status: "fail",
    mend: /mount -t cgroup/,
  },
  {
    what: "a read-only cgroup file system",
    script:
      "for m in $(findmnt -nro TARGET -t cgroup,cgroup2); do mount -o remount,bind,ro $m; done",
    ids: [...LIMITS, "cgroup-freezer", "cgroup-cpuacct"],
    status: "fail",
    mend: /remount,rw/,
  },
  ...(HAS_V1 ? V1_ROWS : []),
  {
    what: "a cgroup to which nothing is delegated",
    script: [
      "umount -R -l /sys/fs/cgroup",
      "mount -t cgroup2 none /sys/fs/cgroup",
      `mkdir -p /sys/fs/cgroup/${DELEGATED}/inner`,
      `echo $$ > /sys/fs/cgroup/${DELEGATED}/inner/cgroup.procs`,
    ].join("; "),
    wrap: [
      "/usr/bin/unshare",
      "--cgroup",
      "/bin/sh",
      "-c",
      'umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"',
      "sh",
    ],
    ids: LIMITS,
    status: "fail",
    mend: /Delegate=yes/,
  },
  {
    what: "no Python",
    script:
      "for p in /usr/bin /usr/local/bin; do [ ! -e $p/python3 ] || mount --bind /dev/null $(readlink -f $p/python3); done",
    ids: ["python"],
    status: "fail",
    mend: /apt-get install python3/,
  },
  {
    what: "an old Python",
    script:
      "printf '#!/bin/sh\\necho cpython 3 7\\n' > /mnt/python; chmod 755 /mnt/python; for p in /usr/bin /usr/local/bin; do [ ! -e $p/python3 ] || mount --bind /mnt/python $(readlink -f $p/python3); done",
    ids: ["python"],
    status: "fail",
    mend: /--base=docker/,
  },
  {
    what: "no pip",
    script:
      "for d in /usr/lib/python3/*-packages/pip /usr/local/lib/python3*/*-packages/pip; do [ ! -d $d ] || mount -t tmpfs none $d; done",
    ids: ["pip"],
    status: "warn",
    mend: /python3-pip/,
  },
  {
    what: "a disk without space",
    script: "mkdir /mnt/disk; mount -t tmpfs -o size=1m none /mnt/disk; cd /mnt/disk",
    ids: ["disk"],
    status: "warn",
    mend: /free space/,
  },
  {
    what: "a disk without inodes",
    script: "mkdir /mnt/disk; mount -t tmpfs -o nr_inodes=20 none /mnt/disk; cd /mnt/disk",
    ids: ["disk"],
    status: "warn",
    mend: /free space/,
  },
  {
    what: "few descriptors",
    wrap: ["/usr/bin/prlimit", "--nofile=1024:1024"],
    ids: ["open-files"],
    status: "warn",
    mend: /LimitNOFILE/,
  },
  {
    what: "none of the programs",
    wrap: ["/usr/bin/env", "PATH=/nowhere"],
    ids: ["programs"],
    status: "fail",
    mend: /apt-get install dash util-linux mount coreutils/,
  },
];

/** The executable may lie where only root can go. */
const dir = tempDir("ol-doctor-");
const copy = dir.join("ol");

beforeAll(() => {
  copyFileSync(OL, copy);
  chmodSync(dir.path, 0o755);
  chmodSync(copy, 0o755);
});
afterAll(() => dir.remove());

async function doctorWithout(
  { script = "true", wrap = [] }: Pick<Row, "script" | "wrap">,
  user: readonly string[],
): Promise<{ result: RunResult; report: Report }> {
  const prepared = `set -e; mkdir -p /mnt; mount -t tmpfs none /mnt; ${script}; exec "$@"`;
  // Who may change the host's namespaces is root, so the identity is changed last but for a filter.
  const isFilter = wrap[0] === "/usr/bin/python3";
  const inner = isFilter ? [...user, ...wrap] : [...wrap, ...user];
  const result = await ol(
    ["--mount", "--propagation", "private", "/bin/sh", "-c", prepared, "sh", ...inner, copy].concat(
      "doctor",
      "--json",
    ),
    { program: "/usr/bin/unshare", env: { HOME: "/tmp" } },
  );
  if (result.stdout === "") throw new Error(`no report: ${result.stderr}`);
  return { result, report: JSON.parse(result.stdout) as Report };
}

const blamed = ({ findings }: Report): Finding[] =>
  findings.filter(({ status }) => status === "warn" || status === "fail");

const asRoot = requires({
  root: true,
  programs: ["unshare", "mount", "setpriv", "findmnt", "prlimit", "setarch"],
});

describe.each([
  ["root", []],
  ["an ordinary user", NOBODY],
] as const)("ol doctor, run by %s", (who, user) => {
  const isUser = who !== "root";
  let usual: string[] = [];

  beforeAll(async () => {
    usual = blamed((await doctorWithout({}, user)).report).map(({ id }) => id);
  });

  asRoot("finds nothing missing without cause", () => {
    expect(usual.filter((id) => !/^(docker|port-\d+)$/.test(id))).toEqual(isUser ? ["user"] : []);
  });

  for (const row of ROWS) {
    asRoot(`names ${row.what}, what it disables and the remedy`, async () => {
      const { result, report } = await doctorWithout(row, user);
      const isSkipped = isUser && row.isRootOnly === true;
      const found = blamed(report).filter(({ id }) => !usual.includes(id));
      expect(found.map(({ id }) => id)).toEqual(isSkipped ? [] : [...row.ids]);
      for (const { id, status, mend, disables } of found) {
        expect([status, mend, disables]).toEqual([
          id === "cgroup-cpuacct" ? "warn" : row.status,
          expect.stringMatching(row.mend),
          expect.any(String),
        ]);
      }
      const isUsable = !isUser && row.status === "warn";
      expect([report.usable, result.exitCode]).toEqual([isUsable, isUsable ? 0 : 1]);
    });
  }
});

test("leaves no cgroup of the one without delegation", () => {
  for (const mount of ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]) {
    const made = `${mount}/${DELEGATED}`;
    if (!existsSync(made)) continue;
    rmdirSync(`${made}/inner`);
    rmdirSync(made);
  }
});
