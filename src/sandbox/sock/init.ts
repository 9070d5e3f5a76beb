/**
 * The program that enters a base: the executable started with the hidden argument `__init`. It
 * assembles the root file system in a mount namespace of its own, makes it its root, and becomes
 * the base's `python3`, the root zygote.
 *
 * Synchronous on purpose: namespaces are per thread, so nothing here may touch Bun's thread pool.
 */

import { closeSync, mkdirSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { buildSeccompFilter, seccompArch } from "../seccomp/build.ts";
import { assert } from "../../common/assert.ts";
import { errnoNameOf } from "../../common/errors.ts";
import { SANDBOX_OOM_SCORE } from "../../common/limits.ts";
import { ZYGOTE_LOCKED_MAX_BYTES } from "../../common/zygote-limits.ts";
import { GUEST_SOURCES_FD, ZYGOTE_PROGRAM, zygoteStart } from "../../guest/sources.ts";
import {
  CLONE_NEWNS,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_REC,
  PR_SET_PDEATHSIG,
  RLIMIT_MEMLOCK,
  SIGKILL,
} from "../../sys/constants.ts";
import { bindMount, mount, pivotInto, setMountTreeAttributes } from "../../sys/mount.ts";
import {
  createMemoryFile,
  duplicateTo,
  execve,
  prctl,
  setResourceLimit,
  unshare,
} from "../../sys/process.ts";

/** What the worker tells init, as JSON in its one argument. */
export interface InitRequest {
  /** Host directory that becomes `/`. */
  readonly root: string;
  /** Host directories bound below it, read-only. */
  readonly binds: readonly { readonly source: string; readonly target: string }[];
  readonly packagesDir: string;
  /** Path of the interpreter inside the base. */
  readonly python: string;
  readonly network: "host" | "none";
  /** The worker's process id: init ends where it is no longer the parent. */
  readonly workerPid: number;
}

const DEVICES = ["null", "zero", "full", "random", "urandom"] as const;
const LINKS = { fd: "/proc/self/fd", stdin: "fd/0", stdout: "fd/1", stderr: "fd/2" } as const;
const READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

function mountDevices(dev: string): void {
  mount("dev", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755");
  mkdirSync(join(dev, "shm"));
  for (const name of DEVICES) {
    writeFileSync(join(dev, name), "");
    bindMount(`/dev/${name}`, join(dev, name));
  }
  for (const [name, target] of Object.entries(LINKS)) symlinkSync(target, join(dev, name));
  setMountTreeAttributes(dev, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID);
}

function assembleRoot(request: InitRequest): void {
  const { root } = request;
  unshare(CLONE_NEWNS);
  mount("none", "/", "", MS_REC | MS_PRIVATE);
  bindMount(root, root);
  for (const { source, target } of request.binds) bindMount(source, join(root, target), MS_REC);
  bindMount(request.packagesDir, join(root, "packages"));
  setMountTreeAttributes(root, READ_ONLY);
  mountDevices(join(root, "dev"));
  pivotInto(root);
}

/** The zygote pins what each fork shall copy; where the host does not let us allow that, forks are slower. */
function allowPinning(): void {
  try {
    setResourceLimit(RLIMIT_MEMLOCK, ZYGOTE_LOCKED_MAX_BYTES);
  } catch (error) {
    if (errnoNameOf(error) !== "EPERM") throw error;
  }
}

/**
 * Does not return: it becomes the root zygote.
 * @param argument an `InitRequest` as JSON
 * @throws {SyscallError} where the host refuses a step
 */
export function runInit(argument: string): never {
  const request = JSON.parse(argument) as InitRequest;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  assert(process.ppid === request.workerPid, "the worker that started this init is gone");
  // Where the machine runs out of memory, a sandbox ends before the worker and what else serves it.
  writeFileSync("/proc/self/oom_score_adj", String(SANDBOX_OOM_SCORE));
  allowPinning();
  const arch = seccompArch(process.arch);
  assert(arch !== null, `there is no system call filter for ${process.arch}`);
  const filter = (part: "early" | "late" | "zygote"): Uint8Array =>
    buildSeccompFilter({ arch, network: request.network, part });
  const filters = { early: filter("early"), late: filter("late"), zygote: filter("zygote") };
  const start = Buffer.from(zygoteStart(filters));
  const memory = createMemoryFile("openlambda-guest");
  writeSync(memory, start, 0, start.length, 0);
  assembleRoot(request);
  duplicateTo(memory, GUEST_SOURCES_FD);
  if (memory !== GUEST_SOURCES_FD) closeSync(memory);
  // By its path, from which a Python that lies elsewhere than where it was compiled for finds its library, and
  // which lambdas find in sys.executable; the zygote gives itself a shorter name.
  return execve(
    request.python,
    [request.python, "-I", "-S", "-B", "-c", ZYGOTE_PROGRAM],
    ["LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"],
  );
}
