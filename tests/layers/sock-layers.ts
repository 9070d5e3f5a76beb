/** Layers around a sandbox of the SOCK engine. */

import { edit, type Layer, layer, type NamedTest } from "./layer.ts";

const SANDBOX = "src/guest/sandbox.py";
const ZYGOTE = "src/guest/zygote.py";
const KERNEL = "src/guest/kernel.py";
const HANDLER = "src/guest/handler.py";
const INIT = "src/sandbox/sock/init.ts";
const GUEST_PROCESS = "src/sandbox/sock/guest-process.ts";
const CGROUP = "src/cgroup/group.ts";

const posture = (title: string): NamedTest => ({
  file: "tests/escape/posture.test.ts",
  name: `posture with network none ${title}`,
});
const A_HANDLER = posture("a handler");
const A_SPARE = posture("a spare");
const BOUNDS = posture("a handler's cgroup bounds its memory with swap, its processes and its CPU");
const IDS = posture("the ids of a worker's processes lie in a range of its own");
const syscalls = (row: string): NamedTest => ({
  file: "tests/escape/syscalls.test.ts",
  name: `network none, forked from fresh system calls: ${row}`,
});
const REFUSED_CALLS = syscalls("the filter refuses calls that no lambda needs with EPERM");
const SET_LIMITS: NamedTest = {
  file: "tests/unit/guest/zygote-parts.test.ts",
  name: "set_limits() lowers everything that a process of its own could use up",
};
const abuse = (name: string): NamedTest => ({ file: "tests/e2e/abuse.test.ts", name });

/** The call that is to come first is not answered: without this layer the kernel refuses a later step. */
const NO_SANDBOX = "Received: 50";

/** A kind of namespace that a sandbox does not leave. */
const namespace = (name: string, constant: string, says: string): Layer =>
  layer(
    `${name} namespace of a sandbox`,
    A_HANDLER,
    says,
    edit(
      SANDBOX,
      "kernel.unshare(NAMESPACES)",
      `kernel.unshare(NAMESPACES & ~kernel.CLONE_${constant})`,
    ),
  );

const limit = (kind: string, value: string, test: NamedTest, says: string): Layer =>
  layer(
    `RLIMIT_${kind}`,
    test,
    says,
    edit(SANDBOX, `        (resource.RLIMIT_${kind}, ${value}),\n`, ""),
  );

const PRIVILEGE: readonly Layer[] = [
  layer(
    "bounding set",
    A_HANDLER,
    '"CapBnd": "',
    edit(KERNEL, "_prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)", "pass"),
  ),
  layer(
    "all capabilities but one, before there is a lambda",
    A_SPARE,
    '"CapEff": "',
    edit(KERNEL, "    _capset(_cap_mount)\n", ""),
  ),
  layer(
    "the last capability, before the lambda runs",
    A_HANDLER,
    '+     "CapEff": "0000000000200000"',
    edit(SANDBOX, "    kernel.drop_capabilities()\n", ""),
  ),
  layer(
    "no_new_privs",
    A_HANDLER,
    NO_SANDBOX,
    edit(SANDBOX, "    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)\n", ""),
  ),
  layer(
    "early filter",
    REFUSED_CALLS,
    '+   "keyctl": "',
    edit(ZYGOTE, '        self.filters["early"].install()\n', ""),
  ),
  layer(
    "late filter",
    REFUSED_CALLS,
    '+   "capset": "EFAULT"',
    edit(SANDBOX, "    late_filter.install()\n", ""),
  ),
  layer(
    "user id of a sandbox's own",
    IDS,
    "Expected: not ",
    edit(
      ZYGOTE,
      'sandbox.enclose(fds[1:], request["uid"], request',
      "sandbox.enclose(fds[1:], 7, request",
    ),
  ),
  layer(
    "group id of a sandbox's own",
    A_HANDLER,
    '   "gids": [',
    edit(SANDBOX, "os.setresgid(uid, uid, uid)", "os.setresgid(0, 0, 0)"),
    edit(
      SANDBOX,
      '_write("/proc/self/gid_map", "%d %d 1" % (LAMBDA_ID, uid))',
      '_write("/proc/self/gid_map", "%d 0 1" % LAMBDA_ID)',
    ),
  ),
  layer(
    "no supplementary groups",
    A_HANDLER,
    '+   "groups": "',
    edit(SANDBOX, "    os.setgroups([])\n", ""),
    edit("src/guest/entry.py", "    os.setgroups([])\n", ""),
  ),
  layer(
    "setgroups denied in the sandbox's user namespace",
    A_HANDLER,
    NO_SANDBOX,
    edit(SANDBOX, '    _write("/proc/self/setgroups", "deny")\n', ""),
  ),
  layer(
    "user namespace of a sandbox",
    A_HANDLER,
    '+     "allow"',
    // What is left is an ordinary user of the zygote's namespace, with the one capability to attach its code.
    edit(
      SANDBOX,
      "    os.setresuid(uid, uid, uid)",
      "    kernel.prctl(8, 1)\n    os.setresuid(uid, uid, uid)",
    ),
    edit(
      SANDBOX,
      "    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)\n",
      "    return\n",
    ),
  ),
  layer("umask", A_HANDLER, '+   "umask": "0000"', edit(SANDBOX, "os.umask(0o022)", "os.umask(0)")),
];

const NAMESPACES: readonly Layer[] = [
  namespace("mount", "NEWNS", NO_SANDBOX),
  namespace("ipc", "NEWIPC", '-   "ipc",'),
  namespace("uts", "NEWUTS", '-   "uts",'),
  namespace("cgroup", "NEWCGROUP", '-   "cgroup",'),
  layer(
    "second mount namespace, in which all mounts are locked",
    A_HANDLER,
    NO_SANDBOX,
    edit(
      SANDBOX,
      "kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)",
      "kernel.unshare(kernel.CLONE_NEWUSER)",
    ),
  ),
  layer(
    "pid namespace of a sandbox",
    A_HANDLER,
    '-   "pid",',
    edit(
      ZYGOTE,
      "        kernel.unshare(kernel.CLONE_NEWPID)\n        try:\n            pid = os.fork()",
      "        try:\n            pid = os.fork()",
    ),
  ),
  layer(
    "network namespace of a sandbox",
    A_HANDLER,
    '-   "net",',
    edit(SANDBOX, "        kernel.setns(network, kernel.CLONE_NEWNET)\n", ""),
  ),
];

const ROOT_FLAGS = "const READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;";

const FILES: readonly Layer[] = [
  layer(
    "read-only root",
    A_HANDLER,
    '"/usr rw,nosuid,nodev"',
    edit(INIT, ROOT_FLAGS, "const READ_ONLY = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;"),
  ),
  layer(
    "nosuid root",
    A_HANDLER,
    '"/usr ro,nodev"',
    edit(INIT, ROOT_FLAGS, "const READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;"),
  ),
  layer(
    "nodev root",
    A_HANDLER,
    '"/usr ro,nosuid"',
    edit(INIT, ROOT_FLAGS, "const READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;"),
  ),
  layer(
    "read-only /dev",
    A_HANDLER,
    '"/dev rw,nosuid,noexec"',
    edit(
      INIT,
      "setMountTreeAttributes(dev, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID);",
      "setMountTreeAttributes(dev, MOUNT_ATTR_NOSUID);",
    ),
  ),
  layer(
    "noexec /dev",
    A_HANDLER,
    '"/dev ro,nosuid"',
    edit(INIT, '"tmpfs", MS_NOSUID | MS_NOEXEC', '"tmpfs", MS_NOSUID'),
  ),
  layer(
    "read-only code",
    A_HANDLER,
    '"/handler rw,nosuid,nodev"',
    edit(GUEST_PROCESS, ROOT_FLAGS, "const READ_ONLY = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;"),
  ),
  layer(
    "five devices and no more",
    A_HANDLER,
    '"/dev/tty ro,nosuid"',
    edit(INIT, '"random", "urandom"] as const', '"random", "urandom", "tty"] as const'),
  ),
  layer(
    "/proc of a sandbox's own",
    A_HANDLER,
    '-     "/proc rw,nosuid,nodev,noexec",',
    edit(SANDBOX, '    kernel.mount(b"proc", b"/proc", b"proc", PLAIN | kernel.MS_NOEXEC)\n', ""),
  ),
  layer(
    "size of the scratch space",
    abuse("memory several files, none of them too large, stop at scratch_mb together"),
    "ENOSPC",
    edit(
      SANDBOX,
      '"size=%d,nr_inodes=%d,mode=755" % (scratch_bytes, inodes)',
      '"nr_inodes=%d,mode=755" % inodes',
    ),
  ),
  layer(
    "inodes of the scratch space",
    abuse("the disk a million files stop at the bound of inodes"),
    "ENOSPC",
    edit(
      SANDBOX,
      '"size=%d,nr_inodes=%d,mode=755" % (scratch_bytes, inodes)',
      '"size=%d,mode=755" % scratch_bytes',
    ),
  ),
  layer(
    "nosuid and nodev scratch space",
    A_HANDLER,
    '+     "/tmp rw",',
    edit(SANDBOX, 'b"/tmp", b"tmpfs", PLAIN, options', 'b"/tmp", b"tmpfs", 0, options'),
  ),
  layer(
    "names of installed packages hidden",
    {
      file: "tests/escape/files.test.ts",
      name: "forked from fresh host files: lists the installed packages",
    },
    'Received: "list"',
    edit("src/packages/store.ts", "await chmod(dir, 0o711);", "await chmod(dir, 0o755);"),
  ),
  layer(
    "nothing of the host's /etc beyond a list",
    {
      file: "tests/unit/base/host-base.test.ts",
      name: "createBase() of the host copies no file of /etc beyond the list",
    },
    '"hostname"',
    edit("src/base/host-source.ts", '  "os-release",\n', '  "os-release",\n  "hostname",\n'),
  ),
];

const LIMITS: readonly Layer[] = [
  layer(
    "cgroup of a sandbox's own",
    posture("a handler shares no namespace with another, and its cgroup holds it alone"),
    '/root-zygote"',
    edit(SANDBOX, "    join_cgroups(cgroup_fds)\n", ""),
  ),
  limit("NOFILE", "FILES_MAX", A_HANDLER, '"open files": "'),
  limit("FSIZE", "file_bytes", A_HANDLER, '"file size": "unlimited unlimited"'),
  limit("MEMLOCK", "LOCKED_MAX", A_HANDLER, '"locked memory": "'),
  limit("MSGQUEUE", "0", A_HANDLER, '"msgqueue size": "819200'),
  limit("SIGPENDING", "1024", A_HANDLER, '"pending signals": "'),
  limit("NPROC", "processes + 8", A_HANDLER, '"processes": "'),
  limit("NICE", "0", SET_LIMITS, '-   "RLIMIT_NICE"'),
  limit("RTPRIO", "0", SET_LIMITS, '-   "RLIMIT_RTPRIO"'),
  layer(
    "RLIMIT_CORE",
    A_HANDLER,
    '-   "core file size": "1 1"',
    edit(SANDBOX, "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))", "pass"),
  ),
  layer(
    "RLIMIT_CORE of 1 rather than 0",
    A_HANDLER,
    '"core file size": "0 0"',
    edit(SANDBOX, "(resource.RLIMIT_CORE, (1, 1))", "(resource.RLIMIT_CORE, (0, 0))"),
  ),
  layer(
    "memory limit",
    BOUNDS,
    '"memoryBytes": ',
    edit(CGROUP, "    this.#memory.setMax(limits.memoryMaxBytes);\n", ""),
  ),
  layer(
    "no swap beside the memory",
    BOUNDS,
    '+   "hasSwap": true',
    edit(
      "src/cgroup/knobs.ts",
      'if (has("memory.swap.max")) this.#write("memory.swap.max", 0);',
      "",
    ),
    edit(
      "src/cgroup/knobs.ts",
      'if (this.#hasSwapLimit) files.push("memory.memsw.limit_in_bytes");',
      "",
    ),
  ),
  layer(
    "number of processes",
    BOUNDS,
    '"processes": ',
    edit(CGROUP, "    this.#pids.setMax(limits.processesMax);\n", ""),
  ),
  layer(
    "CPU limit",
    BOUNDS,
    '"cpuPercent": ',
    edit(CGROUP, "    this.#cpu.setPercent(limits.cpuPercent);\n", ""),
  ),
  layer(
    "out-of-memory score",
    A_HANDLER,
    '-   "oomScoreAdjustment": "500"',
    edit(
      INIT,
      '  writeFileSync("/proc/self/oom_score_adj", String(SANDBOX_OOM_SCORE));\n',
      "  String(SANDBOX_OOM_SCORE);\n",
    ),
  ),
  layer(
    "bound of output, in the guest",
    {
      file: "tests/unit/guest/handler-output.test.ts",
      name: "the bound of output keeps the first bytes, says once that the rest is dropped, and goes on",
    },
    "+ xxxx",
    edit(HANDLER, "part = data[: self._left]", "part = data"),
  ),
  layer(
    "bound of output, in the worker",
    abuse("the disk a flood that is over before anybody looks ends it as well: it answers"),
    '+   ""written"",',
    edit(
      "src/sandbox/sock/sock-sandbox.ts",
      "if (bytes <= 2 * OUTPUT_MAX_BYTES) return;",
      "if (bytes >= 0) return;",
    ),
  ),
];

/** All of them. */
export const SOCK_LAYERS: readonly Layer[] = [...PRIVILEGE, ...NAMESPACES, ...FILES, ...LIMITS];
