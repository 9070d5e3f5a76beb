/** Each check of `ol doctor`: from facts of the host to a finding with its remedy. */

import { readBaseManifest } from "../../base/base.ts";
import { toOlError } from "../../common/errors.ts";
import {
  DOCTOR_DISK_MIN_BYTES,
  DOCTOR_DISK_MIN_FILES,
  DOCTOR_OPEN_FILES_MIN,
} from "../../common/limits.ts";
import type { DoctorHost, DoctorRequest, Finding } from "./contract.ts";

const SOCK_ENGINE = 'the sandbox engine "sock"';

const ok = (id: string, found: string): Finding => ({
  id,
  status: "ok",
  found,
  disables: null,
  mend: null,
});

const bad =
  (status: "warn" | "fail") =>
  (id: string, found: string, disables: string, mend: string): Finding => ({
    id,
    status,
    found,
    disables,
    mend,
  });
const warn = bad("warn");
const fail = bad("fail");

const skip = (id: string, found: string): Finding => ({
  id,
  status: "skip",
  found,
  disables: null,
  mend: null,
});

/**
 * @param host the machine
 * @returns whether this user may make sandboxes
 */
export function checkUser(host: DoctorHost): Finding {
  if (host.uid === 0) return ok("user", "runs as root");
  return fail("user", `runs as uid ${host.uid}`, SOCK_ENGINE, "run it with sudo, or as root");
}

/** Linux 5.12 brought mount_setattr, the youngest call in use (open_tree 5.2, clone3 and pidfd_open 5.3). */
const KERNEL_MIN = [5, 12] as const;

/**
 * @param host the machine
 * @returns whether the kernel is young enough
 */
export function checkKernel(host: DoctorHost): Finding {
  const [major = 0, minor = 0] = host.kernelRelease
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  const found = `Linux ${host.kernelRelease}`;
  if (major > KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor >= KERNEL_MIN[1])) {
    return ok("kernel", found);
  }
  const mend = `upgrade to Linux ${KERNEL_MIN.join(".")} or newer (mount_setattr)`;
  return fail("kernel", `${found} is too old`, SOCK_ENGINE, mend);
}

const CONTAINER_HINT = "in a container: run it with --privileged";

/**
 * @param host the machine
 * @returns whether the calls that put a root together really work here
 */
export function checkMountCalls(host: DoctorHost): Finding {
  if (host.uid !== 0) return skip("mount-calls", "can be tried by root only");
  const failure = host.tryMountCalls();
  if (failure === null)
    return ok("mount-calls", "open_tree, mount_setattr, move_mount and pivot_root work");
  const mend =
    failure.errnoName === "ENOSYS"
      ? "upgrade the kernel to Linux 5.12 or newer"
      : `allow the call: ${CONTAINER_HINT}, or with a seccomp profile and CAP_SYS_ADMIN that permit it`;
  return fail("mount-calls", `${failure.call} fails with ${failure.errnoName}`, SOCK_ENGINE, mend);
}

/** Kernel settings that forbid user namespaces: file, value that forbids, what to set. */
const NAMESPACE_SETTINGS = [
  {
    path: "/proc/sys/user/max_user_namespaces",
    forbids: "0",
    set: "user.max_user_namespaces=15000",
  },
  { path: "/proc/sys/user/max_mnt_namespaces", forbids: "0", set: "user.max_mnt_namespaces=15000" },
  { path: "/proc/sys/user/max_pid_namespaces", forbids: "0", set: "user.max_pid_namespaces=15000" },
] as const;

/** These bind ordinary users only. */
const UNPRIVILEGED_SETTINGS = [
  {
    path: "/proc/sys/kernel/unprivileged_userns_clone",
    forbids: "0",
    set: "kernel.unprivileged_userns_clone=1",
  },
  {
    path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    forbids: "1",
    set: "kernel.apparmor_restrict_unprivileged_userns=0",
  },
] as const;

const UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"];

/**
 * @param host the machine
 * @returns whether every namespace of a sandbox can be made, tried for real
 */
export function checkNamespaces(host: DoctorHost): Finding {
  const settings =
    host.uid === 0 ? NAMESPACE_SETTINGS : [...NAMESPACE_SETTINGS, ...UNPRIVILEGED_SETTINGS];
  for (const { path, forbids, set } of settings) {
    if (host.readText(path)?.trim() !== forbids) continue;
    const found = `${path} is ${forbids}: namespaces are forbidden`;
    return fail("namespaces", found, SOCK_ENGINE, `sysctl -w ${set}`);
  }
  if (host.which("unshare") === null) return skip("namespaces", "unshare is missing, see programs");
  const tried = host.run([...UNSHARE, "--ipc", "--uts", "--net", "--cgroup", "true"]);
  if (tried.exitCode === 0) {
    return ok("namespaces", "user, mount, pid, ipc, uts, net and cgroup namespaces can be made");
  }
  const words = lastLine(tried.stderr, "unshare failed");
  const mend = `allow user namespaces: ${CONTAINER_HINT}, elsewhere see user_namespaces(7)`;
  return fail("namespaces", words, SOCK_ENGINE, mend);
}

/**
 * @param host the machine
 * @returns whether seccomp filters can be installed
 */
export function checkSeccomp(host: DoctorHost): Finding {
  const actions = host.readText("/proc/sys/kernel/seccomp/actions_avail")?.trim().split(" ") ?? [];
  const wanted = ["kill_process", "errno", "allow"];
  const missing = wanted.filter((action) => !actions.includes(action));
  if (missing.length === 0) return checkFilters(host);
  const found =
    actions.length === 0
      ? "the kernel has no seccomp filters"
      : `seccomp lacks ${missing.join(", ")}`;
  const mend = "use a kernel with CONFIG_SECCOMP_FILTER=y (Linux 4.14 or newer)";
  return fail("seccomp", found, SOCK_ENGINE, mend);
}

function checkFilters(host: DoctorHost): Finding {
  const errnoName = host.trySeccomp();
  if (errnoName === null) return ok("seccomp", "filters can be installed");
  const mend = `allow the call: ${CONTAINER_HINT}, or with a seccomp profile that permits it`;
  return fail("seccomp", `prctl(PR_SET_SECCOMP) fails with ${errnoName}`, SOCK_ENGINE, mend);
}

const IO_URING_SETTING = "/proc/sys/kernel/io_uring_disabled";

/**
 * @param host the machine
 * @returns whether zygotes can have the pages copied by forks that sandboxes write to
 */
export function checkIoUring(host: DoctorHost): Finding {
  const setting = host.readText(IO_URING_SETTING)?.trim() ?? "0";
  const disables = "the fastest cold starts; lambdas cannot call io_uring either way";
  if (setting !== "0") {
    const mend = "sysctl -w kernel.io_uring_disabled=0, where other users of this host may have it";
    return warn("io-uring", `${IO_URING_SETTING} is ${setting}`, disables, mend);
  }
  const errnoName = host.tryIoUring();
  if (errnoName === null) return ok("io-uring", "zygotes can pin memory with io_uring");
  const mend = `use a kernel with CONFIG_IO_URING=y; ${CONTAINER_HINT}, or with a seccomp profile that permits it`;
  return warn("io-uring", `io_uring_setup fails with ${errnoName}`, disables, mend);
}

/**
 * @param host the machine
 * @returns what is found of cgroups, and one finding per gap
 */
export function checkCgroups(host: DoctorHost): Finding[] {
  const cgroups = host.cgroups();
  const { version, gaps } = cgroups;
  if (gaps.length === 0) return [ok("cgroup", cgroups.describe())];
  return gaps.map(({ what, disables, mend, fatal }) =>
    (fatal ? fail : warn)(`cgroup-${what}`, `cgroup ${version}: no ${what}`, disables, mend),
  );
}

/** Programs that making a base and starting an engine use, and the Debian package of each. */
const PROGRAMS = {
  sh: "dash",
  unshare: "util-linux",
  mount: "mount",
  chroot: "coreutils",
} as const;

/**
 * @param host the machine
 * @returns whether the few programs that are used are there
 */
export function checkPrograms(host: DoctorHost): Finding {
  const missing = Object.entries(PROGRAMS).filter(([name]) => host.which(name) === null);
  if (missing.length === 0) return ok("programs", `${Object.keys(PROGRAMS).join(", ")} are there`);
  const names = missing.map(([name]) => name).join(", ");
  const packages = [...new Set(missing.map(([, debianPackage]) => debianPackage))].join(" ");
  return fail("programs", `PATH has no ${names}`, '"ol new"', `apt-get install ${packages}`);
}

/** Where a host's base looks; see base/python-check.ts. */
const HOST_PYTHONS = ["/usr/bin/python3", "/bin/python3", "/usr/local/bin/python3"];

const PYTHON_FACTS =
  "import sys, ctypes, json, socket; print(sys.implementation.name, *sys.version_info[:2])";

/**
 * @param host the machine
 * @param request names the base, where there is one
 * @returns the Python that lambdas get, and its pip
 */
export function checkPython(host: DoctorHost, request: DoctorRequest): Finding[] {
  return request.baseDir === null ? checkHostPython(host) : checkBase(request.baseDir);
}

function checkHostPython(host: DoctorHost): Finding[] {
  const reasons: string[] = [];
  for (const python of HOST_PYTHONS) {
    const tried = host.run([python, "-I", "-B", "-c", PYTHON_FACTS]);
    const [name, major, minor] = tried.stdout.trim().split(" ");
    if (tried.exitCode !== 0) {
      if (tried.stderr !== "") reasons.push(`${python}: ${lastLine(tried.stderr, "it fails")}`);
    } else if (name !== "cpython" || Number(major) !== 3 || Number(minor) < 8) {
      reasons.push(`${python} is ${tried.stdout.trim()}`);
    } else {
      return [ok("python", `${python} is CPython ${major}.${minor}`), checkPip(host, python)];
    }
  }
  const found = reasons.length === 0 ? "this host has no python3" : reasons.join("; ");
  const disables = '"ol new" with the default --base=host';
  const mend = 'apt-get install python3, or use "ol new --base=docker:python:3.12-slim"';
  return [fail("python", found, disables, mend), skip("pip", "needs Python")];
}

function checkPip(host: DoctorHost, python: string): Finding {
  const tried = host.run([python, "-I", "-B", "-m", "pip", "--version"]);
  if (tried.exitCode === 0) return ok("pip", tried.stdout.trim().split(" ").slice(0, 2).join(" "));
  const disables = "lambdas with PyPI packages";
  return warn("pip", `${python} has no pip`, disables, "apt-get install python3-pip");
}

function checkBase(baseDir: string): Finding[] {
  try {
    const base = readBaseManifest(baseDir);
    const python = ok("python", `the base has ${base.python}, CPython ${base.pythonVersion}`);
    if (base.pipVersion !== null) return [python, ok("pip", `pip ${base.pipVersion}`)];
    const mend =
      'install pip into what the base was made of, then make the cluster anew with "ol new"';
    return [python, warn("pip", "the base has no pip", "lambdas with PyPI packages", mend)];
  } catch (error) {
    const mend = 'make the cluster anew with "ol new"';
    return [fail("python", toOlError(error).message, "every lambda of this cluster", mend)];
  }
}

/**
 * @param host the machine
 * @param request names the socket
 * @returns whether a Docker daemon answers; it is optional
 */
export async function checkDocker(host: DoctorHost, request: DoctorRequest): Promise<Finding> {
  const problem = await host.dockerProblem(request.dockerSocket);
  if (problem === null) return ok("docker", `a daemon answers at ${request.dockerSocket}`);
  const disables = 'the sandbox engine "docker" and --base=docker:IMAGE; "sock" does not need it';
  const mend = problem.includes("EACCES")
    ? "run it as root, or add the user to the group docker"
    : "apt-get install docker.io && systemctl start docker";
  return warn("docker", problem, disables, mend);
}

/**
 * @param host the machine
 * @param port of a worker or the registry
 * @returns whether it can be listened on
 */
export function checkPort(host: DoctorHost, port: number): Finding {
  const problem = host.tryPort(port);
  const id = `port-${port}`;
  if (problem === null) return ok(id, `port ${port} is free`);
  if (problem === "EADDRINUSE") {
    const mend = `stop what uses it ("ss -ltnp 'sport = :${port}'" shows it), or choose another with --port`;
    return warn(id, `port ${port} is taken`, `a worker or registry on port ${port}`, mend);
  }
  return warn(
    id,
    `port ${port}: ${problem}`,
    `listening on port ${port}`,
    "choose another with --port",
  );
}

/**
 * @param host the machine
 * @param request names the directory
 * @returns whether its file system has room
 */
export function checkDisk(host: DoctorHost, { directory }: DoctorRequest): Finding {
  const space = host.diskSpace(directory);
  if (space === null) {
    return fail("disk", `${directory} is not there`, '"ol new"', `mkdir -p ${directory}`);
  }
  const free = `${Math.floor(space.freeBytes / 2 ** 20)} MiB and ${space.freeFiles} files`;
  const found = `${free} are free at ${directory}`;
  const isFull = space.freeBytes < DOCTOR_DISK_MIN_BYTES || space.freeFiles < DOCTOR_DISK_MIN_FILES;
  if (!isFull) return ok("disk", found);
  const mend = "free space there, or put the cluster on another file system";
  return warn("disk", `only ${found}`, "scratch space, packages and logs of lambdas", mend);
}

/**
 * @param host the machine
 * @returns whether a worker may open enough files for its connections and sandboxes
 */
export function checkOpenFiles(host: DoctorHost): Finding {
  const max = host.openFilesMax();
  if (max === null) return skip("open-files", "the limit of open files cannot be read");
  if (max >= DOCTOR_OPEN_FILES_MIN) return ok("open-files", `up to ${max} open files`);
  const mend = `ulimit -Hn ${DOCTOR_OPEN_FILES_MIN} (systemd: LimitNOFILE=${DOCTOR_OPEN_FILES_MIN})`;
  return warn("open-files", `at most ${max} open files`, "thousands of connections at once", mend);
}

function lastLine(text: string, otherwise: string): string {
  const line = text.trim().split("\n").at(-1)?.trim() ?? "";
  return line === "" ? otherwise : line;
}
