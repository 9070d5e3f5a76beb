/** The whole table, number by number, against a list that was written down independently of it. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";

import {
  AUDIT_ARCH,
  buildSeccompFilter,
  seccompArch,
} from "../../../../src/sandbox/seccomp/build.ts";
import { interpret } from "../../../../src/sandbox/seccomp/interpret.ts";
import {
  type SeccompArch,
  SYSCALL_NUMBERS,
  SYSCALL_NUMBER_LAST,
  type SyscallName,
} from "../../../../src/sandbox/seccomp/numbers.ts";
import { syscallTable } from "../../../../src/sandbox/seccomp/table.ts";

/** Every call that a lambda must not make, whatever its arguments; what is not here must work. */
const REFUSED = new Set(
  `_sysctl acct add_key adjtimex afs_syscall bpf cachestat capset chroot clock_adjtime clock_settime
  create_module delete_module epoll_ctl_old epoll_wait_old fanotify_init fanotify_mark file_getattr
  file_setattr finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_thread_area getpmsg
  init_module io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit io_uring_enter
  io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl
  landlock_add_rule landlock_create_ruleset landlock_restrict_self listmount lookup_dcookie
  lsm_get_self_attr lsm_list_modules lsm_set_self_attr memfd_secret migrate_pages modify_ldt mount
  mount_setattr move_mount move_pages name_to_handle_at nfsservctl open_by_handle_at open_tree
  open_tree_attr perf_event_open pidfd_getfd pivot_root process_madvise process_mrelease
  process_vm_readv process_vm_writev ptrace putpmsg query_module quotactl quotactl_fd reboot
  remap_file_pages request_key seccomp security set_mempolicy_home_node set_thread_area setdomainname
  setfsgid setfsuid setgid setgroups sethostname setns setregid setresgid setresuid setreuid
  settimeofday setuid statmount swapoff swapon sync syncfs sysfs syslog tuxcall umount2 unshare
  uprobe uretprobe userfaultfd uselib ustat vhangup vmsplice vserver`.split(/\s+/),
);

/** With all arguments 0. */
const BY_ARGUMENT: Readonly<Record<string, string>> = {
  clone3: "errno 38",
  clone: "allow",
  socket: "errno 1",
  socketpair: "errno 1",
  setsockopt: "allow",
  prctl: "errno 1",
  ioctl: "errno 25",
  personality: "allow",
  mknod: "allow",
  mknodat: "allow",
};

const ARCHES: readonly SeccompArch[] = ["x86_64", "aarch64"];

function verdictOf(filter: Uint8Array, arch: SeccompArch, nr: number, args: bigint[] = []): string {
  const action = interpret(filter, { nr, arch: AUDIT_ARCH[arch], args });
  return action.kind === "errno" ? `errno ${action.errno}` : action.kind;
}

function expectedOf(name: string | undefined, nr: number): string {
  if (nr > SYSCALL_NUMBER_LAST) return "errno 38";
  if (name === undefined || REFUSED.has(name)) return "errno 1";
  return BY_ARGUMENT[name] ?? "allow";
}

describe.each([...ARCHES])("the filter of %s", (arch) => {
  const column = arch === "x86_64" ? 0 : 1;
  const names = new Map<number, string>();
  for (const [name, numbers] of Object.entries(SYSCALL_NUMBERS)) {
    const number = numbers[column];
    if (number !== null) names.set(number, name);
  }
  const host = buildSeccompFilter({ arch, network: "host" });
  const none = buildSeccompFilter({ arch, network: "none" });
  const number = (name: SyscallName): number => SYSCALL_NUMBERS[name][column] ?? -1;

  test("decides each number from 0 to 600 as written down", () => {
    for (const filter of [host, none]) {
      const wrong: string[] = [];
      for (let nr = 0; nr <= 600; nr += 1) {
        const is = verdictOf(filter, arch, nr);
        const want = expectedOf(names.get(nr), nr);
        if (is !== want) wrong.push(`${nr} ${names.get(nr) ?? "?"}: ${is}, not ${want}`);
      }
      expect(wrong).toEqual([]);
    }
  });

  test("kills on calls of other architectures", () => {
    for (const foreign of [0x40000003, 0x40000028, 0xc00000f3, 0, 0xffffffff]) {
      expect(interpret(host, { nr: 0, arch: foreign, args: [] })).toEqual({ kind: "kill" });
    }
    const other = AUDIT_ARCH[arch === "x86_64" ? "aarch64" : "x86_64"];
    expect(interpret(host, { nr: 0, arch: other, args: [] })).toEqual({ kind: "kill" });
  });

  test("refuses x32 and negative numbers", () => {
    for (const nr of [0x40000000, 0x40000001, 0x40000000 + 520, 0x7fffffff, 0x80000000, -1, -38]) {
      expect(verdictOf(host, arch, nr)).toBe("errno 1");
    }
  });

  test("refuses clone() with each namespace flag, alone, together and under high bits", () => {
    const flags = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000];
    for (const flag of flags) {
      for (const extra of [0n, 17n, 0x3d0f00n, 1n << 32n, 0xffffffff00000000n]) {
        expect(verdictOf(host, arch, number("clone"), [BigInt(flag) | extra])).toBe("errno 1");
      }
    }
    // What pthread_create and fork of glibc pass.
    expect(verdictOf(host, arch, number("clone"), [0x3d0f00n])).toBe("allow");
    expect(verdictOf(host, arch, number("clone"), [0x1200011n])).toBe("allow");
  });

  test("allows only stream and datagram sockets of unix and internet families", () => {
    const socket = (filter: Uint8Array, ...args: number[]): string =>
      verdictOf(filter, arch, number("socket"), args.map(BigInt));
    const flags = 0o2004000; // SOCK_CLOEXEC | SOCK_NONBLOCK
    for (const filter of [host, none]) {
      for (const family of [2, 10]) {
        expect(socket(filter, family, 1 | flags, 0)).toBe("allow");
        expect(socket(filter, family, 1, 6)).toBe("allow");
        expect(socket(filter, family, 2, 17)).toBe("allow");
        for (const type of [3, 4, 5, 6, 10, 0]) {
          expect(socket(filter, family, type | flags, 0)).toBe("errno 1");
        }
        for (const protocol of [1, 132, 136, 255, 262]) {
          expect(socket(filter, family, 1, protocol)).toBe("errno 1");
        }
      }
      for (const type of [1, 2, 5]) expect(socket(filter, 1, type, 0)).toBe("allow");
      for (let family = 0; family <= 60; family += 1) {
        if ([1, 2, 10, 16].includes(family)) continue;
        for (const type of [1, 2, 3, 5, 10]) {
          expect(socket(filter, family, type, 0)).toBe("errno 1");
        }
      }
    }
    expect(socket(host, 16, 3 | flags, 0)).toBe("allow");
    expect(socket(none, 16, 3 | flags, 0)).toBe("errno 1");
    for (let protocol = 1; protocol < 32; protocol += 1) {
      expect(socket(host, 16, 3, protocol)).toBe("errno 1");
    }
    expect(verdictOf(host, arch, number("socketpair"), [1n, 1n])).toBe("allow");
    expect(verdictOf(host, arch, number("socketpair"), [16n, 1n])).toBe("errno 1");
  });

  test("refuses devices in mknod(), whatever the high bits of the mode say", () => {
    const at = number("mknodat");
    for (const high of [0n, 0x10000n, 1n << 32n, 0xffffffffffff0000n]) {
      expect(verdictOf(host, arch, at, [0n, 0n, high | 0o020666n])).toBe("errno 1");
      expect(verdictOf(host, arch, at, [0n, 0n, high | 0o060666n])).toBe("errno 1");
      expect(verdictOf(host, arch, at, [0n, 0n, high | 0o010666n])).toBe("allow");
    }
  });

  test("refuses terminal input, whatever the high bits of the request say", () => {
    for (const high of [0n, 1n << 32n, 0xffffffff00000000n]) {
      expect(verdictOf(host, arch, number("ioctl"), [0n, high | 0x5412n])).toBe("errno 1");
      expect(verdictOf(host, arch, number("ioctl"), [0n, high | 0x541cn])).toBe("errno 1");
      expect(verdictOf(host, arch, number("ioctl"), [0n, high | 0x5401n])).toBe("allow");
    }
  });

  test("limits personality(), prctl() and setsockopt()", () => {
    const ask = (name: SyscallName, ...args: bigint[]): string =>
      verdictOf(host, arch, number(name), args);
    expect(ask("personality", 0xffffffffn)).toBe("allow");
    expect(ask("personality", 0x0040000n)).toBe("errno 1");
    expect(ask("personality", 8n)).toBe("errno 1");
    expect(ask("prctl", 15n)).toBe("allow");
    for (const option of [22n, 24n, 28n, 35n, 47n, 53n, 59n, 62n, 0x59616d61n]) {
      expect(ask("prctl", option)).toBe("errno 1");
    }
    for (const option of [26n, 50n, 51n, 52n]) {
      expect(ask("setsockopt", 0n, 1n, option)).toBe("errno 1");
      expect(ask("setsockopt", 0n, 6n, option)).toBe("allow");
    }
    expect(ask("setsockopt", 0n, 1n, 2n)).toBe("allow");
  });
});

describe.each([...ARCHES])("arguments under the filter of %s", (arch) => {
  const column = arch === "x86_64" ? 0 : 1;
  const host = buildSeccompFilter({ arch, network: "host" });
  const zygote = buildSeccompFilter({ arch, network: "host", part: "zygote" });
  const ask = (filter: Uint8Array, name: SyscallName, ...args: (number | bigint)[]): string =>
    verdictOf(filter, arch, SYSCALL_NUMBERS[name][column] ?? -1, args.map(BigInt));

  const MODES: readonly (readonly [string, number, string])[] = [
    ["nothing", 0, "allow"],
    ["KEEP_SIZE", 1, "errno 1"],
    ["PUNCH_HOLE alone", 2, "errno 1"],
    ["PUNCH_HOLE and KEEP_SIZE", 3, "allow"],
    ["NO_HIDE_STALE", 4, "errno 1"],
    ["COLLAPSE_RANGE", 8, "errno 1"],
    ["ZERO_RANGE", 0x10, "errno 1"],
    ["ZERO_RANGE and KEEP_SIZE", 0x11, "errno 1"],
    ["INSERT_RANGE", 0x20, "errno 1"],
    ["INSERT_RANGE, PUNCH_HOLE and KEEP_SIZE", 0x23, "errno 1"],
    ["UNSHARE_RANGE", 0x40, "errno 1"],
    ["UNSHARE_RANGE and KEEP_SIZE", 0x41, "errno 1"],
    ["WRITE_ZEROES", 0x80, "errno 1"],
    ["a mode of a later kernel", 0x100, "errno 1"],
  ];

  test.each(MODES)("fallocate() with %s", (_, mode, verdict) => {
    for (const high of [0n, 1n << 32n]) {
      expect(ask(host, "fallocate", 1, high | BigInt(mode))).toBe(verdict);
    }
  });

  test("refuses huge pages in mmap(), memfd_create() and shmget(), of any size", () => {
    for (const size of [0n, 21n << 26n, 30n << 26n, 1n << 32n]) {
      expect(ask(host, "mmap", 0, 4096, 3, 0x40022n | size, -1n)).toBe("errno 1");
      expect(ask(host, "mmap", 0, 4096, 3, 0x22n | size, -1n)).toBe("allow");
      expect(ask(host, "memfd_create", 0, 4n | size)).toBe("errno 1");
      expect(ask(host, "memfd_create", 0, 3n | size)).toBe("allow");
      expect(ask(host, "shmget", 0, 4096, 0o4600n | size)).toBe("errno 1");
      expect(ask(host, "shmget", 0, 4096, 0o1600n | size)).toBe("allow");
    }
  });

  test("lets nobody change the limit of core dumps, and everybody ask for it", () => {
    for (const pointer of [1, 0x7ffe_0000, 1n << 32n, 0xffff_0000_0000n]) {
      expect(ask(host, "prlimit64", 0, 4, pointer, 0)).toBe("errno 1");
      expect(ask(zygote, "prlimit64", 0, 4, pointer, 0)).toBe("errno 1");
      expect(ask(host, "prlimit64", 0, 7, pointer, 0)).toBe("allow");
    }
    expect(ask(host, "prlimit64", 0, 4, 0, 0x7ffe_0000)).toBe("allow");
    expect(ask(host, "setrlimit", 4, 0x7ffe_0000)).toBe("errno 1");
    expect(ask(host, "setrlimit", 7, 0x7ffe_0000)).toBe("allow");
    expect(ask(host, "getrlimit", 4, 0x7ffe_0000)).toBe("allow");
  });

  test("lets a zygote make the namespaces and mounts of its children, and no others", () => {
    const own = 0x0e020000;
    const namespaces = [0x20000000, 0x40000000, own, 0x10020000, own | 0x10000000, 0x5e020000];
    for (const flags of namespaces) expect(ask(zygote, "unshare", flags)).toBe("allow");
    for (const flags of [0, 0x10000000, 0x20000, 0x80, own | 0x80, 0x30000000, 0x200, 0x400]) {
      expect(ask(zygote, "unshare", flags)).toBe("errno 1");
    }
    expect(ask(zygote, "setns", 5, 0x20000000)).toBe("allow");
    expect(ask(zygote, "setns", 5, 0x40000000)).toBe("allow");
    for (const kind of [0, 0x20000, 0x10000000, 0x60000000]) {
      expect(ask(zygote, "setns", 5, kind)).toBe("errno 1");
    }
    for (const flags of [14, 6, 4096]) expect(ask(zygote, "mount", 1, 1, 1, flags)).toBe("allow");
    for (const flags of [0, 2, 4, 32, 4096 | 32, 4096 | 16384, 8192, 1 << 18, 1 << 20]) {
      expect(ask(zygote, "mount", 1, 1, 1, flags)).toBe("errno 1");
    }
    for (const option of [1, 4, 15, 22, 24, 38, 47]) {
      expect(ask(zygote, "prctl", option)).toBe("allow");
    }
    for (const option of [8, 28, 33, 35, 53, 59, 62, 0x59616d61]) {
      expect(ask(zygote, "prctl", option)).toBe("errno 1");
    }
    for (const name of ["unshare", "setns", "mount", "move_mount"] as const) {
      expect(ask(host, name, 0x20000000, 0x20000000, 0, 6)).toBe("errno 1");
    }
  });
});

test("the table names every call once and gives each group a reason", () => {
  const seen = new Map<string, number>();
  for (const group of syscallTable({ network: "host" })) {
    expect(group.reason.length).toBeGreaterThan(10);
    for (const name of group.calls) seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  expect([...seen].filter(([, times]) => times !== 1)).toEqual([]);
  expect([...seen.keys()].toSorted()).toEqual(Object.keys(SYSCALL_NUMBERS).toSorted());
});

test("no number is given to two calls", () => {
  for (const column of [0, 1]) {
    const numbers = Object.values(SYSCALL_NUMBERS)
      .map((row) => row[column])
      .filter((number) => number !== null);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(Math.max(...numbers.map(Number))).toBe(SYSCALL_NUMBER_LAST);
  }
});

const HEADERS: readonly (readonly [number, string])[] = [
  [0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"],
  [1, "/usr/include/asm-generic/unistd.h"],
];

test.each(HEADERS.filter(([, path]) => existsSync(path)))(
  "column %i has the numbers of the kernel's header %s",
  (column, path) => {
    // Linux 6.1 and later; what a header does not know yet is not compared.
    const text = readFileSync(path, "utf8");
    const table: Readonly<Record<string, readonly (number | null)[]>> = SYSCALL_NUMBERS;
    let compared = 0;
    for (const [, name = "", digits = ""] of text.matchAll(/^#define __NR_(\w+)\s+(\d+)$/gm)) {
      const row = table[name];
      if (name === "syscalls" || name === "arch_specific_syscall" || row === undefined) continue;
      // sync_file_range2 and the 32-bit time calls are other architectures'.
      if (column === 1 && row[1] === null) continue;
      expect(`${name} ${row[column]}`).toBe(`${name} ${digits}`);
      compared += 1;
    }
    expect(compared).toBeGreaterThan(column === 0 ? 350 : 280);
  },
);

test("seccompArch() knows the two architectures that Bun runs on", () => {
  expect(seccompArch("x64")).toBe("x86_64");
  expect(seccompArch("arm64")).toBe("aarch64");
  expect(seccompArch("ppc64")).toBe(null);
});
