/** The filter in the kernel: what it must refuse, with exact errnos, and what must go on working. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { buildSeccompFilter, seccompArch } from "../../../../src/sandbox/seccomp/build.ts";
import {
  type SeccompArch,
  type SyscallName,
  syscallNumber,
} from "../../../../src/sandbox/seccomp/numbers.ts";

const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
const ATTEMPTS = join(import.meta.dir, "attempts.py");
const WORKLOAD = join(import.meta.dir, "workload.py");
const ARCH: SeccompArch = seccompArch(process.arch) ?? "x86_64";

const EPERM = "1";
const ENOTTY = "25";
const ENOSYS = "38";

type Attempt = readonly [SyscallName | number, readonly number[], string];

/** Number, arguments, errno. Bad pointers are harmless: a call that got through would answer EFAULT. */
const REFUSED: readonly Attempt[] = [
  ["unshare", [0x10000000], EPERM],
  ["unshare", [0], EPERM],
  ["setns", [0, 0], EPERM],
  ["clone3", [0, 0], ENOSYS],
  ["clone", [0x10000011, 0, 0, 0, 0], EPERM],
  ["clone", [0x00020011, 0, 0, 0, 0], EPERM],
  ["mount", [0, 0, 0, 0, 0], EPERM],
  ["umount2", [0, 0], EPERM],
  ["pivot_root", [0, 0], EPERM],
  ["chroot", [0], EPERM],
  ["move_mount", [0, 0, 0, 0, 0], EPERM],
  ["open_tree", [0, 0, 0], EPERM],
  ["fsopen", [0, 0], EPERM],
  ["mount_setattr", [0, 0, 0, 0, 0], EPERM],
  ["ptrace", [0, 0, 0, 0], EPERM],
  ["process_vm_readv", [1, 0, 0, 0, 0, 0], EPERM],
  ["process_vm_writev", [1, 0, 0, 0, 0, 0], EPERM],
  ["kcmp", [1, 1, 0, 0, 0], EPERM],
  ["pidfd_getfd", [0, 0, 0], EPERM],
  ["bpf", [0, 0, 0], EPERM],
  ["perf_event_open", [0, 0, -1, -1, 0], EPERM],
  ["seccomp", [2, 0, 0], EPERM],
  ["keyctl", [0, -3, 0], EPERM],
  ["add_key", [0, 0, 0, 0, 0], EPERM],
  ["request_key", [0, 0, 0, 0], EPERM],
  ["io_uring_setup", [1, 0], EPERM],
  ["io_setup", [1, 0], EPERM],
  ["userfaultfd", [0], EPERM],
  ["memfd_secret", [0], EPERM],
  ["kexec_load", [0, 0, 0, 0], EPERM],
  ["init_module", [0, 0, 0], EPERM],
  ["finit_module", [-1, 0, 0], EPERM],
  ["delete_module", [0, 0], EPERM],
  ["clock_settime", [0, 0], EPERM],
  ["settimeofday", [0, 0], EPERM],
  ["adjtimex", [0], EPERM],
  ["personality", [0x0040000], EPERM],
  ["quotactl", [0, 0, 0, 0], EPERM],
  ["swapon", [0, 0], EPERM],
  ["swapoff", [0], EPERM],
  ["reboot", [0, 0, 0, 0], EPERM],
  ["acct", [0], EPERM],
  ["syslog", [10, 0, 0], EPERM],
  ["open_by_handle_at", [-1, 0, 0], EPERM],
  ["name_to_handle_at", [-1, 0, 0, 0, 0], EPERM],
  ["fanotify_init", [0, 0], EPERM],
  ["sethostname", [0, 0], EPERM],
  ["setuid", [0], EPERM],
  ["setgroups", [0, 0], EPERM],
  ["capset", [0, 0], EPERM],
  ["ioctl", [0, 0x5412, 0], EPERM],
  ["ioctl", [0, 0x541c, 0], EPERM],
  ["ioctl", [0, 0x12345678, 0], ENOTTY],
  ["socket", [16, 3, 9], EPERM], // AF_NETLINK, NETLINK_AUDIT
  ["socket", [17, 3, 768], EPERM], // AF_PACKET
  ["socket", [2, 3, 1], EPERM], // raw IPv4
  ["socket", [10, 3, 58], EPERM], // raw IPv6
  ["socket", [38, 5, 0], EPERM], // AF_ALG
  ["socket", [40, 1, 0], EPERM], // AF_VSOCK
  ["prctl", [35, 0, 0, 0, 0], EPERM], // PR_SET_MM
  ["prctl", [28, 0, 0, 0, 0], EPERM], // PR_SET_SECUREBITS
  ["prctl", [22, 2, 0, 0, 0], EPERM], // PR_SET_SECCOMP
  ["mknodat", [-100, 0, 0o20666, 0x103], EPERM],
  [1000, [], ENOSYS],
];

/** The same kind of call, but allowed: its errno comes from the kernel. */
const PASSED: readonly Attempt[] = [
  ["socket", [1, 1, 0], "0"],
  ["socket", [2, 1, 0], "0"],
  ["prctl", [16, 0, 0, 0, 0], "14"], // PR_GET_NAME into a bad pointer
  ["personality", [0xffffffff], "0"],
  ["getppid", [], "0"],
  ["mknodat", [-100, 0, 0o10666, 0], "14"],
  ["kill", [0x3fffffff, 0], "3"],
];

/** Without the filter these are let through to the kernel, which shows who refused them above. */
const CONTROL: readonly (readonly [SyscallName, readonly number[]])[] = [
  ["unshare", [0]],
  ["personality", [0x0040000]],
  ["chroot", [0]],
  ["keyctl", [0, -3, 0]],
  ["socket", [17, 3, 768]],
  ["setuid", [0]],
  ["mknodat", [-100, 0, 0o20666, 0x103]],
  ["clone3", [0, 0]],
];

let dir = "";

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "openlambda-seccomp-"));
  for (const network of ["none", "host"] as const) {
    writeFileSync(join(dir, network), buildSeccompFilter({ arch: ARCH, network }));
  }
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function attempt(
  filter: string,
  calls: readonly (readonly [SyscallName | number, readonly number[], ...unknown[]])[],
): Promise<string[]> {
  const input = calls.map(([call, args]) => [
    typeof call === "number" ? call : syscallNumber(ARCH, call),
    args,
  ]);
  const child = Bun.spawn([PYTHON, "-I", "-S", ATTEMPTS, filter], {
    stdin: new Blob([JSON.stringify(input)]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect(err).toBe("");
  return out.trim().split("\n");
}

describe.skipIf(process.getuid?.() !== 0)("a root process under the filter", () => {
  // A call that the architecture lacks cannot be attempted.
  const here = ([call]: Attempt): boolean =>
    typeof call === "number" || syscallNumber(ARCH, call) !== null;

  test.each(["none", "host"])(
    "gets the exact errno for each refused call (%s)",
    async (network) => {
      const calls = [...REFUSED, ...PASSED].filter(here);
      const is = await attempt(join(dir, network), calls);
      const shown = calls.map(([call, args], index) => `${call}(${args.join()}) ${is[index]}`);
      expect(shown).toEqual(calls.map(([call, args, want]) => `${call}(${args.join()}) ${want}`));
    },
  );

  test("gets other answers for the same calls without it", async () => {
    const is = await attempt("-", CONTROL);
    for (const [index, [call]] of CONTROL.entries()) {
      expect(`${call} ${is[index]}`).not.toBe(`${call} ${EPERM}`);
      expect(`${call} ${is[index]}`).not.toBe(`${call} ${ENOSYS}`);
    }
  });

  test("may open a route netlink socket only with network host", async () => {
    const call: Attempt = ["socket", [16, 0x80003, 0], "0"];
    expect(await attempt(join(dir, "host"), [call])).toEqual(["0"]);
    expect(await attempt(join(dir, "none"), [call])).toEqual([EPERM]);
  });
});

test.each(["none", "host"])("everyday Python works under the filter (%s)", async (network) => {
  const child = Bun.spawn([PYTHON, "-I", "-S", ATTEMPTS, join(dir, network), WORKLOAD], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  expect(err).toBe("");
  expect(out.trim().split("\n")).toEqual(
    "threads subprocess multiprocessing sockets files ssl asyncio system".split(" "),
  );
  expect(code).toBe(0);
});
