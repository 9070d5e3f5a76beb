/** Tables of attempts on identity, namespaces, limits, and on processes that are not the lambda's own. */

import { expect } from "bun:test";

import { printed, type TestWorker } from "../helpers/worker.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type AttemptOf, inside, type Scenario } from "./attempts.ts";

/** What the attempts are made of. */
export interface Context {
  readonly worker: TestWorker;
  /** Host process ids: the worker, its zygotes, and handlers of another lambda. */
  readonly pids: readonly number[];
  /** A process of the test for the controls. */
  readonly victim: number;
}

/** On who it is and what it may do. */
export const IDENTITY: readonly AttemptOf<Context>[] = [
  {
    row: "becomes root",
    code: `
calls = {"setuid": [0], "setgid": [0], "setreuid": [0, 0], "setresuid": [0, 0, 0],
         "setresgid": [0, 0, 0], "setfsuid": [0], "setgroups": [0, None]}
if os.getuid() == 0:
    return [in_child(lambda: c(call, *values)) for call, values in calls.items()]
return [c(call, *values) for call, values in calls.items()] + [os.getresuid(), os.getresgid()]`,
    expected: [...Array.from({ length: 7 }, () => "EPERM"), [1000, 1000, 1000], [1000, 1000, 1000]],
    outside: { expected: Array.from({ length: 7 }, () => "ok") },
  },
  {
    row: "takes back capabilities",
    code: `
header = struct.pack("<Ii", 0x20080522, 0)
full = struct.pack("<6I", 1 << 21, 1 << 21, 0, 0, 0, 0)
def capset():
    return [c("capset", header, full), c("prctl", 47, 2, 21, 0, 0), c("prctl", 24, 21, 0, 0, 0)]
return in_child(capset)`,
    expected: ["EPERM", "EPERM", "EPERM"],
    outside: {
      code: `
header = struct.pack("<Ii", 0x20080522, 0)
full = struct.pack("<6I", 1 << 21, 1 << 21, 1 << 21, 0, 0, 0)
def capset():
    return [c("capset", header, full), c("prctl", 47, 2, 21, 0, 0)]
return in_child(capset)`,
      expected: ["ok", "ok"],
    },
  },
  {
    row: "makes namespaces by unshare, clone and clone3",
    code: `
kinds = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000,
         "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
clone = 56 if os.uname().machine == "x86_64" else 220
def cloned(number, *arguments):
    pid = raw(number, *arguments)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
found = {kind: [in_child(lambda: c("unshare", flag)), tried(cloned, clone, flag | 17, 0, 0, 0, 0)]
         for kind, flag in kinds.items()}
found["time"] = in_child(lambda: c("unshare", 0x80))
arguments = struct.pack("<8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0)
found["clone3"] = tried(cloned, 435, arguments, len(arguments))
return found`,
    expected: {
      ...Object.fromEntries(
        "mnt cgroup uts ipc user pid net".split(" ").map((kind) => [kind, ["EPERM", "EPERM"]]),
      ),
      time: "EPERM",
      clone3: "ENOSYS",
    },
    outside: {
      expected: {
        ...Object.fromEntries(
          "mnt cgroup uts ipc user pid net".split(" ").map((kind) => [kind, ["ok", "ok"]]),
        ),
        time: "ok",
        clone3: "ok",
      },
    },
  },
  {
    row: "enters namespaces by setns",
    code: `
kinds = sorted(os.listdir("/proc/self/ns"))
def enter(kind):
    fd = os.open("/proc/self/ns/" + kind, os.O_RDONLY)
    try:
        return in_child(lambda: c("setns", fd, 0))
    finally:
        os.close(fd)
return [enter(kind) for kind in ("cgroup", "ipc", "mnt", "net", "uts", "pid", "user")]`,
    expected: Array.from({ length: 7 }, () => "EPERM"),
    // Nobody can enter the user namespace that he is in.
    outside: { expected: ["ok", "ok", "ok", "ok", "ok", "ok", "EINVAL"] },
  },
  {
    row: "raises its limits and priorities",
    code: `
import resource
RAISED = struct.pack("<2Q", 1 << 40, 1 << 40)
def limits():
    found = {kind: c("prlimit", 0, getattr(resource, "RLIMIT_" + kind), RAISED, None)
             for kind in ("CORE", "FSIZE", "MEMLOCK", "NPROC", "NICE", "RTPRIO", "MSGQUEUE")}
    found["NOFILE"] = c("prlimit", 0, resource.RLIMIT_NOFILE, struct.pack("<2Q", 2048, 2048), None)
    found["nice"] = tried(os.setpriority, os.PRIO_PROCESS, 0, -5)
    # By number: musl's function answers by itself.
    found["realtime"] = tried(raw, 144 if os.uname().machine == "x86_64" else 119, 0, 1, struct.pack("<i", 1))
    found["oom"] = tried(os.write, os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-500")
    return found
return in_child(limits)`,
    expected: {
      ...Object.fromEntries(
        "CORE FSIZE MEMLOCK NPROC NICE RTPRIO MSGQUEUE NOFILE realtime"
          .split(" ")
          .map((kind) => [kind, "EPERM"]),
      ),
      nice: "EACCES",
      oom: "EACCES",
    },
    // Root of a container has not every capability either, so its answers are not the same everywhere.
    outside: {},
  },
  {
    // With 0 the kernel would hand its dumps to a program of the host, if that has one.
    row: "lowers its limit of core dumps",
    code: `
import resource
return in_child(lambda: c("prlimit", 0, resource.RLIMIT_CORE, struct.pack("<2Q", 0, 0), None))`,
    expected: "EPERM",
    outside: { expected: "ok" },
  },
  {
    row: "loosens the filter and its own protection",
    code: `
NO_NEW_PRIVS, SECCOMP, SECUREBITS, KEEPCAPS = 38, 22, 28, 8
allow = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000))
program = struct.pack("<HxxxxxxQ", 1, ctypes.addressof(allow))
return in_child(lambda: [
    c("prctl", NO_NEW_PRIVS, 0, 0, 0, 0),
    libc.prctl(39, 0, 0, 0, 0),
    c("prctl", SECCOMP, 2, program, 0, 0),
    tried(raw, 317 if os.uname().machine == "x86_64" else 277, 1, 0, program),
    c("prctl", SECUREBITS, 0, 0, 0, 0),
    c("prctl", KEEPCAPS, 1, 0, 0, 0),
])`,
    expected: ["EINVAL", 1, "EPERM", "EPERM", "EPERM", "EPERM"],
    outside: { expected: ["EINVAL", 0, "ok", "ok", "ok", "ok"] },
  },
];

/** Against each process of a list. */
const TRACE = `
trace, readv = (101, 310) if os.uname().machine == "x86_64" else (117, 270)
place = ctypes.create_string_buffer(16)
here = struct.pack("<2Q", ctypes.addressof(place), 16)
def against(pid):
    return [
        tried(os.kill, pid, 0),
        tried(os.kill, pid, 18),
        tried(lambda: os.close(os.pidfd_open(pid))),
        tried(raw, trace, 16, pid, 0, 0),
        tried(raw, readv, pid, here, 1, here, 1, 0),
        opened("/proc/%d/mem" % pid, os.O_RDONLY),
        opened("/proc/%d/environ" % pid, os.O_RDONLY),
        tried(os.listdir, "/proc/%d/root" % pid),
        tried(os.listdir, "/proc/%d/fd" % pid),
        opened("/proc/%d/ns/mnt" % pid, os.O_RDONLY),
    ]
return [against(pid) for pid in event]`;
/** What comes of `TRACE` against a process that is not there. */
const INVISIBLE = [
  ..."ESRCH ESRCH ESRCH EPERM EPERM".split(" "),
  ...Array.from({ length: 5 }, () => "ENOENT"),
];

/** On what else runs. */
export const PROCESSES: readonly AttemptOf<Context>[] = [
  {
    row: "one process of the host",
    code: TRACE,
    event: ({ pids: [first = 0] }) => [first],
    expected: [INVISIBLE],
    outside: {
      event: ({ victim: pid }) => [pid],
      // The address that is read is not mapped there.
      expected: ["ok ok ok ok EFAULT ok ok ok ok ok".split(" ")],
    },
  },
  {
    row: "lists processes",
    code: "return sorted(int(entry) for entry in os.listdir('/proc') if entry.isdigit())",
    expected: [1],
    outside: {},
  },
  {
    row: "signals everyone",
    code: `
pid = os.fork()
if pid == 0:
    os.setsid()
    found = tried(os.kill, -1, 9)
    os._exit(0 if found == "ESRCH" else 1)
return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])`,
    expected: 0,
    outside: { unshare: ["--user", "--pid", "--fork", "--kill-child"], expected: 0 },
  },
  {
    row: "finds descriptors other than its streams and its socket",
    code: `
def kind(fd):
    target = os.readlink("/proc/self/fd/%s" % fd)
    return target.split(":")[0] if target.startswith("socket:") else os.path.basename(target)
fds = sorted(os.listdir("/proc/self/fd"), key=int)
return {fd: kind(fd) for fd in fds if os.path.exists("/proc/self/fd/" + fd)}`,
    expected: { "0": "null", "1": "stdout", "2": "stderr", "3": "socket" },
    outside: {},
  },
  {
    row: "reads its environment and command line",
    code: `
read = lambda path: open(path, "rb").read().decode().split("\\0")[:-1]
return [dict(os.environ), read("/proc/self/environ"), read("/proc/self/cmdline")[:1], sys.argv]`,
    expected: [
      {},
      ["LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"],
      ["/usr/bin/python3"],
      ["/handler/lambda_func.py"],
    ],
    outside: {},
  },
  {
    row: "types into a terminal",
    code: `
import fcntl, termios
typed = [tried(fcntl.ioctl, fd, termios.TIOCSTI, b"x") for fd in (0, 1, 2, 3)]
return typed + [any(map(os.isatty, range(4))), opened("/dev/tty", os.O_RDWR), tried(os.openpty)]`,
    expected: ["EPERM", "EPERM", "EPERM", "EPERM", false, "ENOENT", "ENOENT"],
    outside: {
      code: `
import fcntl, termios
master, slave = os.openpty()
return [tried(fcntl.ioctl, slave, termios.TIOCSTI, b"x"), os.isatty(slave)]`,
      expected: ["ok", true],
    },
  },
  {
    row: "sets the host's name and clock",
    code: `
now = struct.pack("<2q", 1, 0)
return [tried(socket.sethostname, "x"), c("clock_settime", 0, now), c("settimeofday", now, None)]`,
    expected: ["EPERM", "EPERM", "EPERM"],
    outside: {
      unshare: ["--uts"],
      code: "return tried(socket.sethostname, 'x')",
      expected: "ok",
    },
  },
];

/** How a call starts whose instance has lived on. */
const ALIVE = ["warm", "unpaused"];

/** @param worker gets the other lambda, and calls it once */
export async function startSibling(worker: TestWorker): Promise<void> {
  worker.lambda("sibling", "print('alive')\ndef handler(event):\n    return 'sibling'\n");
  expect((await worker.call("sibling")).text).toBe('"sibling"');
}

/** On the worker, its zygotes, and the sibling. */
export const OTHERS: readonly Scenario<Context>[] = [
  {
    row: "worker, zygotes and siblings cannot be seen, signalled, read or traced",
    // Worker, waiter, zygote, the sibling, and spares.
    expected: 4,
    run: async ({ worker, pids }, atLeast) => {
      expect(pids.length).toBeGreaterThanOrEqual(atLeast as number);
      expect(await inside(worker, TRACE, pids)).toEqual(pids.map(() => INVISIBLE));
      expect((await worker.call("sibling")).headers.get("x-ol-start")).toBeOneOf(ALIVE);
    },
  },
];

/** To be run after all attempts on it. */
export const SIBLING: readonly Scenario<Context>[] = [
  {
    row: "the sibling printed nothing new and still runs",
    run: async ({ worker }) => {
      expect((await worker.call("sibling")).headers.get("x-ol-start")).toBeOneOf(ALIVE);
      await waitFor(
        () => printed(worker, "sibling", "stdout") === "alive\n",
        "its output is there",
      );
    },
  },
];
