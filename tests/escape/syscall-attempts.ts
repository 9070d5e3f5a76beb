/** Tables of system calls that a lambda must not make, and of some that it needs. */

import { expect } from "bun:test";

import { SYSCALL_NUMBERS, type SyscallName } from "../../src/sandbox/seccomp/numbers.ts";
import type { TestWorker } from "../helpers/worker.ts";
import { outside, type Scenario } from "./attempts.ts";

/** A call: its name and arguments; a string argument stands for the address of those bytes. */
type Call = readonly [SyscallName, ...(number | string)[]];

/** Refused in every sandbox. */
const REFUSED: readonly Call[] = [
  ["keyctl", 0, -3, 0],
  ["add_key", "user", "name", "payload", 7, -3],
  ["request_key", "user", "name", 0, -3],
  ["bpf", 0, 0, 0],
  ["perf_event_open", 0, 0, -1, -1, 0],
  ["io_uring_setup", 1, 0],
  ["io_uring_enter", -1, 0, 0, 0, 0, 0],
  ["io_uring_register", -1, 0, 0, 0],
  ["io_setup", 1, 0],
  ["userfaultfd", 0xffff],
  ["memfd_secret", 0xffff],
  ["kexec_load", 0, 0, 0, 0xffff],
  ["kexec_file_load", -1, -1, 0, 0, 0xffff],
  ["init_module", 0, 0, 0],
  ["finit_module", -1, 0, 0],
  ["delete_module", "no_such_module", 0],
  ["reboot", 0, 0, 0, 0],
  ["swapon", 0, 0],
  ["swapoff", 0],
  ["acct", "/no/such/file"],
  ["syslog", 3, 0, -1],
  ["quotactl", 0, 0, 0, 0],
  ["clock_settime", 99, 0],
  ["clock_adjtime", 99, 0],
  ["adjtimex", 0],
  ["settimeofday", 0, 0],
  ["personality", 0x0040000],
  ["ptrace", 16, 0x7ffffff, 0, 0],
  ["process_vm_readv", 0x7ffffff, 0, 0, 0, 0, 0],
  ["process_vm_writev", 0x7ffffff, 0, 0, 0, 0, 0],
  ["kcmp", 0x7ffffff, 0x7ffffff, 0, 0, 0],
  ["pidfd_getfd", -1, 0, 0],
  ["process_madvise", -1, 0, 0, 0, 0],
  ["unshare", 0x10000000],
  ["setns", -1, 0],
  ["mount", 0, 0, 0, 0, 0],
  ["umount2", "/no/such/place", 0],
  ["pivot_root", "/no/such", "/place"],
  ["chroot", "/no/such/place"],
  ["move_mount", -1, "", -1, "", 0],
  ["open_tree", -1, "/no/such/place", 0],
  ["fsopen", "nosuchfs", 0],
  ["fsmount", -1, 0, 0],
  ["fspick", -1, "/no/such/place", 0],
  ["mount_setattr", -1, "", 0, 0, 0],
  ["open_by_handle_at", -1, 0, 0],
  ["name_to_handle_at", -1, "/no/such/place", 0, 0, 0],
  ["fanotify_init", 0xffff, 0],
  ["fanotify_mark", -1, 0, 0, 0, 0],
  ["sethostname", 0, -1],
  ["setdomainname", 0, -1],
  ["setuid", 0],
  ["setgroups", 0, 0],
  ["capset", 0, 0],
  ["seccomp", 99, 0, 0],
  ["sync"],
  ["syncfs", -1],
  ["remap_file_pages", 0, 0, 0, 0, 0],
  ["vmsplice", -1, 0, 0, 0],
  ["migrate_pages", 0x7ffffff, 0, 0, 0],
  ["move_pages", 0x7ffffff, 0, 0, 0, 0, 0],
  ["landlock_create_ruleset", 0, 0, 1],
  ["lookup_dcookie", 0, 0, 0],
];

/** Calls that a lambda needs and that must work through the same snippet. */
const ALLOWED: readonly Call[] = [
  ["getpid"],
  ["getuid"],
  ["sched_yield"],
  ["personality", 0xffffffff],
  ["getrandom", 0, 0, 0],
];

/** Makes the calls that it gets, each in a child. */
const CALLS = `
held = []
def argument(value):
    if isinstance(value, str):
        held.append(ctypes.create_string_buffer(value.encode()))
        return ctypes.addressof(held[-1])
    return value
return [in_child(lambda: tried(raw, number, *map(argument, rest))) for number, *rest in event]`;

/** Whether there are 32-bit and x32 calls at all. */
const isIntel = process.arch === "x64";
const number = (name: SyscallName): number | null => SYSCALL_NUMBERS[name][isIntel ? 0 : 1];
/** Those that this architecture has. */
const present = (calls: readonly Call[]): readonly Call[] =>
  calls.filter(([name]) => number(name) !== null);
/** As `CALLS` wants them. */
const byNumber = (calls: readonly Call[]): unknown =>
  calls.map(([name, ...rest]) => [number(name), ...rest]);
/** What came of each call, by its name. */
const named = (calls: readonly Call[], found: unknown): Record<string, unknown> =>
  Object.fromEntries(calls.map(([name], index) => [name, (found as unknown[])[index]]));

/** `mov eax, 20; int 0x80; ret`: getpid of the 32-bit table; and getpid of the x32 one. */
const OTHER_TABLES = `
import mmap
def interrupt():
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000cd80c3"))
    call = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return call() == os.getpid()
return [in_child(interrupt), in_child(lambda: tried(raw, 0x40000000 | 39))]`;

/** What comes of the same outside: the kernel itself answers. */
export function answersOutside(): Record<string, string> {
  const calls = present(REFUSED);
  const alone = ["--mount", "--uts", "--ipc", "--time"];
  return named(calls, outside(CALLS, byNumber(calls), alone)) as Record<string, string>;
}

/** An attempt at all calls that are refused everywhere. */
export interface RefusedCalls {
  readonly code: string;
  readonly event: unknown;
  /** What came of each call, by its name. */
  readonly named: (found: unknown) => Record<string, unknown>;
}

/** @returns the same attempt for what is no lambda */
export function refusedOutright(): RefusedCalls {
  const calls = present(REFUSED);
  return { code: CALLS, event: byNumber(calls), named: (found) => named(calls, found) };
}

/** What the rows are made of. */
interface SyscallContext {
  readonly worker: TestWorker;
}

const TABLES: Scenario<SyscallContext> = {
  row: "the filter kills who calls through the 32-bit table and refuses the x32 one",
  expected: ["signal 31", "EPERM"],
  run: async ({ worker }, expected, inside) => {
    expect(await inside(worker, OTHER_TABLES)).toEqual(expected);
    const [interrupt, x32] = outside(OTHER_TABLES) as readonly unknown[];
    // A kernel may be built without either; what it says then is not SIGSYS.
    expect(interrupt).toBeOneOf([true, false, "signal 11"]);
    expect(x32).toBeOneOf(["ok", "ENOSYS"]);
  },
};

/** All of them. */
export const SYSCALLS: readonly Scenario<SyscallContext>[] = [
  {
    row: "the filter refuses calls that no lambda needs with EPERM",
    run: async ({ worker }, _, inside) => {
      const calls = present(REFUSED);
      const found = named(calls, await inside(worker, CALLS, byNumber(calls)));
      expect(found).toEqual(Object.fromEntries(calls.map(([name]) => [name, "EPERM"])));
    },
  },
  {
    row: "the filter refuses clone3 with ENOSYS, so that programs fall back to clone",
    run: async ({ worker }, _, inside) => {
      const calls: readonly Call[] = [["clone3", 0, 0]];
      expect(await inside(worker, CALLS, byNumber(calls))).toEqual(["ENOSYS"]);
      expect(outside(CALLS, byNumber(calls))).toEqual(["EINVAL"]);
    },
  },
  {
    row: "the filter lets calls through that every program makes",
    run: async ({ worker }, _, inside) => {
      expect(await inside(worker, CALLS, byNumber(ALLOWED))).toEqual(ALLOWED.map(() => "ok"));
    },
  },
  ...(isIntel ? [TABLES] : []),
];
