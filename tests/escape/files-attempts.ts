/** Tables of attempts on files: those of the host, the roots and mounts of the sandbox, devices. */

import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import type { TestWorker } from "../helpers/worker.ts";
import { type AttemptOf, outside } from "./attempts.ts";

/** What the attempts are made of. */
export interface FilesContext {
  readonly worker: TestWorker;
  /** A directory of the host for the controls. */
  readonly dir: string;
}

/** Programs that carry privilege in their files: `id` by its setuid bit, `cat` by a file capability. */
function plantPrograms(dir: string): void {
  copyFileSync("/usr/bin/id", join(dir, "id"));
  chmodSync(join(dir, "id"), 0o4755);
  const cat = join(dir, "cat");
  copyFileSync("/usr/bin/cat", cat);
  chmodSync(cat, 0o755);
  // VFS_CAP_REVISION_2 with the effective bit, then permitted and inheritable: CAP_NET_RAW.
  const capability = "struct.pack('<5I', 0x02000001, 1 << 13, 0, 0, 0)";
  outside(`os.setxattr(event, "security.capability", ${capability})`, cat);
}

/**
 * Puts in place what the attempts look for.
 * @param worker a running one
 * @returns the directory for the controls; to be removed by the caller
 */
export async function plantFiles(worker: TestWorker): Promise<TempDir> {
  const temp = tempDir("ol-escape-");
  worker.lambda("other", "def handler(event):\n    return 'other'\n");
  await worker.call("other");
  chmodSync(temp.path, 0o755);
  for (const dir of [join(worker.cluster, "packages/setuid"), temp.join("setuid")]) {
    mkdirSync(dir, { mode: 0o755 });
    plantPrograms(dir);
  }
  writeFileSync(temp.join("secret"), "secret");
  return temp;
}

const READ_FIRST = "return open(event, 'rb').read(4).decode('latin1') != ''";

/** On files of the host. */
export const HOST_FILES: readonly AttemptOf<FilesContext>[] = [
  {
    row: "reads /etc/shadow",
    code: READ_FIRST,
    event: () => "/etc/shadow",
    expected: "ENOENT",
    outside: { expected: true },
  },
  {
    row: "lists /root",
    code: "return len(os.listdir('/root')) > 0",
    expected: "ENOENT",
    outside: { expected: true },
  },
  {
    row: "reads another lambda's code by its path on the host",
    code: READ_FIRST,
    event: ({ worker: { cluster } }) => join(cluster, "registry/other/lambda_func.py"),
    expected: "ENOENT",
    outside: { expected: true },
  },
  {
    row: "lists another lambda's instances on the host",
    code: "return type(os.listdir(event)).__name__",
    event: ({ worker: { dir } }) => join(dir, "handlers"),
    expected: "ENOENT",
    outside: { expected: "list" },
  },
  {
    row: "reads the cluster's config",
    code: READ_FIRST,
    event: ({ worker: { cluster } }) => join(cluster, "config/template.json"),
    expected: "ENOENT",
    outside: { expected: true },
  },
  {
    row: "reads the cluster's config past the root of process 1",
    code: READ_FIRST,
    event: ({ worker: { cluster } }) => `/proc/1/root${cluster}/config/template.json`,
    expected: "ENOENT",
    outside: { event: ({ dir }) => `/proc/self/root${dir}/secret`, expected: true },
  },
  {
    row: "climbs over its root with ..",
    code: READ_FIRST,
    event: ({ dir }) => `${"/..".repeat(40)}${dir}/secret`,
    expected: "ENOENT",
    outside: { expected: true },
  },
  {
    row: "climbs over the roots of its mounts with ..",
    code: `
found = []
for place in ("/handler", "/packages", "/host", "/tmp", "/dev/shm", "/usr"):
    fd = os.open(place, os.O_PATH)
    for _ in range(40):
        fd = os.open("..", os.O_PATH, dir_fd=fd)
    found.append(tried(os.stat, event[1:]) if os.fstat(fd) == os.stat("/") else "elsewhere")
    found.append(tried(lambda: os.stat(event[1:], dir_fd=fd)))
return found`,
    event: ({ dir }) => `${dir}/secret`,
    expected: Array.from({ length: 12 }, () => "ENOENT"),
    outside: {
      code: "return tried(lambda: os.stat(event[1:], dir_fd=os.open('/', os.O_RDONLY)))",
      expected: "ok",
    },
  },
  {
    row: "lists the installed packages",
    code: "return type(os.listdir(event)).__name__",
    event: () => "/packages",
    expected: "EACCES",
    outside: { event: ({ worker: { cluster } }) => join(cluster, "packages"), expected: "list" },
  },
  {
    row: "finds the host's other trees",
    code: `return [place for place in event if os.path.exists(place) and os.listdir(place)]`,
    event: () => ["/home", "/root", "/var", "/run", "/boot", "/sys", "/mnt", "/srv", "/opt"],
    expected: [],
    outside: {},
  },
  {
    row: "talks to the Docker daemon's socket",
    code: "return tried(socket.socket(socket.AF_UNIX).connect, '/var/run/docker.sock')",
    expected: "ENOENT",
    outside: {
      code: `
path = event + "/listener"
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
return tried(socket.socket(socket.AF_UNIX).connect, path)`,
      event: ({ dir }) => dir,
      expected: "ok",
    },
  },
];

const MOUNT_CALLS =
  "mount bind remount umount proc private open_tree fsopen mount_setattr pivot_root".split(" ");

/** On roots and mounts. */
export const ROOTS: readonly AttemptOf<FilesContext>[] = [
  {
    row: "chroot",
    code: "os.chroot('/tmp')\nreturn 'ok'",
    expected: "EPERM",
    outside: { expected: "ok" },
  },
  {
    row: "leaves a chroot over a kept descriptor",
    code: `
place = event + "/jail"
os.makedirs(place, exist_ok=True)
root = os.open("/", os.O_RDONLY)
os.chroot(place)
os.fchdir(root)
os.chdir("../../../..")
os.chroot(".")
return os.path.exists("/etc/shadow")`,
    event: () => "/tmp",
    expected: "EPERM",
    outside: { event: ({ dir }) => dir, expected: true },
  },
  {
    row: "mounts, attaches, remounts, binds, unmounts, changes roots",
    code: `
place = event.encode() + b"/new"
os.makedirs(place, exist_ok=True)
NULL = None
found = {
    "mount": c("mount", b"x", place, b"tmpfs", 0, NULL),
    "bind": c("mount", b"/usr", place, NULL, 4096, NULL),
    "remount": c("mount", NULL, place, NULL, 4096 | 32, NULL),
    "umount": c("umount2", place, 2),
    "proc": c("mount", b"proc", place, b"proc", 0, NULL),
    "private": c("mount", NULL, b"/", NULL, 1 << 18, NULL),
    "open_tree": tried(raw, 428, -100, b"/\\0", 1),
    "fsopen": tried(raw, 430, b"tmpfs\\0", 0),
    "mount_setattr": tried(raw, 442, -100, b"/\\0", 0, bytes(32), 32),
}
pivot_root = 155 if os.uname().machine == "x86_64" else 41
found["pivot_root"] = tried(raw, pivot_root, place + b"\\0", place + b"\\0")
return found`,
    event: () => "/tmp",
    expected: Object.fromEntries(MOUNT_CALLS.map((call) => [call, "EPERM"])),
    outside: {
      unshare: ["--mount"],
      event: ({ dir }) => dir,
      expected: Object.fromEntries(MOUNT_CALLS.map((call) => [call, "ok"])),
    },
  },
  {
    row: "loosens the mounts that it was given",
    code: `
return {
    place: [
        c("mount", None, place.encode(), None, 4096 | 32, None),
        c("umount2", place.encode(), 2),
    ]
    for place in event
}`,
    event: () => ["/", "/usr", "/handler", "/packages", "/proc", "/dev", "/tmp", "/host"],
    expected: Object.fromEntries(
      ["/", "/usr", "/handler", "/packages", "/proc", "/dev", "/tmp", "/host"].map((place) => [
        place,
        ["EPERM", "EPERM"],
      ]),
    ),
    outside: {
      unshare: ["--mount"],
      code: `
place = event.encode()
c("mount", b"x", place, b"tmpfs", 1, None)
return [c("mount", None, place, None, 4096 | 32, None), c("umount2", place, 2)]`,
      event: ({ dir }) => dir,
      expected: ["ok", "ok"],
    },
  },
];

const MADE = "path = event + '/made'\nopen(path, 'w').close()\nos.unlink(path)\nreturn 'ok'";
const writesTo = (place: string, errno: string): AttemptOf<FilesContext> => ({
  row: `makes a file in ${place}`,
  code: MADE,
  event: () => place,
  expected: errno,
  outside: { event: ({ dir }) => dir, expected: "ok" },
});

const WRITE_ONLY = "return opened(event, os.O_WRONLY)";
const opens = (path: string, errno: string, control: string = path): AttemptOf<FilesContext> => ({
  row: `opens ${path} for writing`,
  code: WRITE_ONLY,
  event: () => path,
  expected: errno,
  outside: { event: () => control, expected: "ok" },
});

/** Not every kernel is built with these. */
const SYSRQ = existsSync("/proc/sysrq-trigger") ? "EACCES" : "ENOENT";
const KCORE = existsSync("/proc/kcore") ? "EACCES" : "ENOENT";

/** On what is read-only. */
export const WRITES: readonly AttemptOf<FilesContext>[] = [
  ...["/", "/usr", "/usr/lib", "/etc", "/bin", "/dev", "/packages", "/handler"].map((place) =>
    writesTo(place, "EROFS"),
  ),
  writesTo("/proc", "ENOENT"),
  writesTo("/sys/fs/cgroup", "ENOENT"),
  opens("/etc/passwd", "EACCES"),
  opens("/handler/lambda_func.py", "EACCES", "/etc/passwd"),
  opens("/sys/fs/cgroup/cgroup.procs", "ENOENT", "/etc/passwd"),
  opens("/proc/sysrq-trigger", SYSRQ, "/etc/passwd"),
  opens("/proc/sys/kernel/core_pattern", "EACCES"),
  opens("/proc/sys/kernel/hostname", "EACCES"),
  opens("/proc/sys/vm/drop_caches", "EACCES"),
  opens("/proc/sys/net/ipv4/ip_forward", "EACCES"),
  opens("/proc/kcore", KCORE, "/etc/passwd"),
  opens("/proc/self/mem", "ok"),
  {
    row: "writes through a link that it makes to a file of the base",
    code: `
os.symlink("/etc/passwd", "/tmp/link")
return [opened("/tmp/link", os.O_WRONLY), tried(os.link, "/etc/passwd", "/tmp/hard")]`,
    expected: ["EACCES", "EXDEV"],
    outside: {
      code: `
open(event + "/target", "w").close()
os.symlink(event + "/target", event + "/link")
return [opened(event + "/link", os.O_WRONLY), tried(os.link, event + "/target", event + "/hard")]`,
      event: ({ dir }) => dir,
      expected: ["ok", "ok"],
    },
  },
  {
    row: "overwrites the running interpreter",
    code: "return [opened('/proc/self/exe', os.O_WRONLY), opened('/proc/1/exe', os.O_WRONLY)]",
    expected: ["EACCES", "EACCES"],
    outside: {
      code: "return [opened('/proc/self/exe', os.O_WRONLY), opened(event, os.O_WRONLY)]",
      event: ({ dir }) => `${dir}/secret`,
      expected: ["ETXTBSY", "ok"],
    },
  },
  {
    row: "makes its code's directory writable",
    code: "return [tried(os.chmod, place, 0o777) for place in event]",
    event: () => ["/handler", "/packages", "/usr", "/etc/passwd"],
    expected: ["EROFS", "EROFS", "EROFS", "EROFS"],
    outside: { event: ({ dir }) => [dir], expected: ["ok"] },
  },
];

/** On devices, and programs that carry privilege. */
export const DEVICES: readonly AttemptOf<FilesContext>[] = [
  {
    row: "makes devices",
    code: `
import stat
return [
    tried(os.mknod, event + "/character", stat.S_IFCHR | 0o666, os.makedev(1, 1)),
    tried(os.mknod, event + "/block", stat.S_IFBLK | 0o666, os.makedev(259, 0)),
]`,
    event: () => "/tmp",
    expected: ["EPERM", "EPERM"],
    outside: { event: ({ dir }) => dir, expected: ["ok", "ok"] },
  },
  {
    row: "lists devices",
    code: "return sorted(os.listdir('/dev'))",
    expected: "fd full null random shm stderr stdin stdout urandom zero".split(" "),
    outside: {},
  },
  {
    row: "opens memory, disks, terminals and virtual machines",
    code: "return [tried(os.stat, '/dev/' + name) for name in event]",
    event: () => ["mem", "kmsg", "kvm", "fuse", "ptmx", "tty", "loop-control", "net/tun", "vda"],
    expected: Array.from({ length: 9 }, () => "ENOENT"),
    outside: {},
  },
  {
    row: "gains privilege by a setuid program or a file capability",
    code: `
import subprocess
if os.getuid() == 0:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
def run(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True).stdout.strip()
    except OSError as error:
        return name(error.errno)
status = run(event + "/cat", "/proc/self/status")
effective = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")]
return [run(event + "/id", "-u"), effective or status]`,
    event: () => "/packages/setuid",
    expected: ["1000", ["0000000000000000"]],
    outside: { event: ({ dir }) => `${dir}/setuid`, expected: ["0", ["0000000000002000"]] },
  },
];
