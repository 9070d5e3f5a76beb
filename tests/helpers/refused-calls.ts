/** Programs for which the kernel lacks, or a container forbids, some system calls. */

/**
 * Installs a filter and becomes the program; in Python, since a filter binds only the thread that
 * installs it, and Bun has many.
 */
const FILTER = `
import ctypes, os, struct, sys
errno, rules, program = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
LOAD, IF, RETURN = 0x20, 0x15, 0x06
NR, ARG0 = 0, 16
def step(code, k, jt=0, jf=0):
    return struct.pack("HBBI", code, jt, jf, k)
steps = [step(LOAD, NR)]
for rule in rules:
    nr, _, arg = rule.partition(":")
    if arg:
        steps += [step(IF, int(nr), 0, 4), step(LOAD, ARG0), step(IF, int(arg), 0, 1)]
        steps += [step(RETURN, 0x50000 | errno), step(LOAD, NR)]
    else:
        steps += [step(IF, int(nr), 0, 1), step(RETURN, 0x50000 | errno)]
steps.append(step(RETURN, 0x7FFF0000))
code = ctypes.create_string_buffer(b"".join(steps))
head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
prctl = lambda option, *args: libc.prctl(option, *(list(map(ctypes.c_ulong, args)) + [ctypes.c_ulong(0)] * (4 - len(args))))
if os.getuid() != 0:
    prctl(38, 1)  # no_new_privs
if prctl(22, 2, ctypes.addressof(head)) != 0:
    sys.exit("no filter: errno %d" % ctypes.get_errno())
os.execv(program[0], program)
`;

const isArm = process.arch === "arm64";

/** Calls that can be refused, as the filter has them: a number, or a number and its first argument. */
const CALLS = {
  io_uring_setup: "425",
  open_tree: "428",
  move_mount: "429",
  mount_setattr: "442",
  pivot_root: isArm ? "41" : "155",
  unshare: isArm ? "97" : "272",
  /** `PR_SET_SECCOMP` only. */
  prctl_seccomp: isArm ? "167:22" : "157:22",
} as const;

/** Name of a call that can be refused. */
export type RefusedCall = keyof typeof CALLS;

const ERRNOS = { EPERM: 1, ENOSYS: 38 } as const;

/**
 * @param calls that fail
 * @param errno with which
 * @returns the beginning of a command line, to be followed by a program's path and its arguments
 */
export function refusing(
  calls: readonly RefusedCall[],
  errno: keyof typeof ERRNOS,
): readonly string[] {
  const rules = calls.map((call) => CALLS[call]).join(",");
  return ["/usr/bin/python3", "-I", "-c", FILTER, String(ERRNOS[errno]), rules];
}
