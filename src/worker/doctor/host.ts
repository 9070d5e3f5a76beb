/** Looks at the real machine for `doctor`; changes nothing, and is bounded in time. */

import { closeSync, existsSync, readFileSync, statfsSync } from "node:fs";
import { release } from "node:os";
import { detectCgroups } from "../../cgroup/host.ts";
import { type CgroupIo, systemCgroupIo } from "../../cgroup/io.ts";
import { errnoNameOf } from "../../common/errors.ts";
import { DOCTOR_DOCKER_TIMEOUT_MS, DOCTOR_PROGRAM_TIMEOUT_MS } from "../../common/limits.ts";
import { MOUNT_ATTR_RDONLY, PR_SET_SECCOMP, SECCOMP_MODE_FILTER } from "../../sys/constants.ts";
import { makeRing } from "../../sys/io-uring.ts";
import {
  moveNoMount,
  openTreeClone,
  pivotNowhere,
  setDetachedMountAttributes,
} from "../../sys/mount.ts";
import { prctl } from "../../sys/process.ts";
import type { DiskSpace, DoctorHost, ProgramResult } from "./contract.ts";

/** @returns the machine that this runs on */
export function createDoctorHost(): DoctorHost {
  return {
    uid: process.getuid?.() ?? -1,
    kernelRelease: release(),
    readText,
    which: (program) => Bun.which(program),
    run,
    cgroups: () => detectCgroups(REACHABLE_CGROUPS),
    tryMountCalls,
    trySeccomp,
    tryIoUring,
    tryPort,
    diskSpace,
    dockerProblem,
    openFilesMax,
  };
}

/**
 * The machine's cgroups without those that another mount higher up hides: the kernel lists them
 * still, but no path leads there.
 */
const REACHABLE_CGROUPS: CgroupIo = {
  ...systemCgroupIo,
  read: (path) => {
    const text = systemCgroupIo.read(path);
    return path === "/proc/self/mountinfo" ? withoutHiddenCgroups(text) : text;
  },
};

function withoutHiddenCgroups(mountinfo: string): string {
  return mountinfo
    .split("\n")
    .filter((line) => !isHiddenCgroup(line))
    .join("\n");
}

function isHiddenCgroup(line: string): boolean {
  const point = / - cgroup2? /.test(line) ? line.split(" ")[4] : undefined;
  return point !== undefined && !existsSync(`${point}/cgroup.procs`);
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function run(argv: readonly string[]): ProgramResult {
  try {
    const result = Bun.spawnSync([...argv], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: DOCTOR_PROGRAM_TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    const { exitCode, stdout, stderr } = result;
    return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
  } catch {
    // It is not there, or may not be executed.
    return { exitCode: null, stdout: "", stderr: "" };
  }
}

function tryMountCalls(): { call: string; errnoName: string } | null {
  let call = "open_tree";
  let fd = -1;
  try {
    fd = openTreeClone("/proc");
    call = "mount_setattr";
    setDetachedMountAttributes(fd, MOUNT_ATTR_RDONLY);
  } catch (error) {
    return { call, errnoName: errnoNameOf(error) ?? String(error) };
  } finally {
    if (fd >= 0) closeSync(fd);
  }
  return (
    failureOf("move_mount", moveNoMount, "EBADF") ?? failureOf("pivot_root", pivotNowhere, "ENOENT")
  );
}

/** Makes a call whose arguments cannot be good: only where it may be made are they looked at. */
function failureOf(
  call: string,
  attempt: () => void,
  wanted: string,
): { call: string; errnoName: string } | null {
  try {
    attempt();
    return null;
  } catch (error) {
    const errnoName = errnoNameOf(error) ?? String(error);
    return errnoName === wanted ? null : { call, errnoName };
  }
}

function installNoFilter(): void {
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER);
}

/** A filter at address 0 is refused with EFAULT by a kernel that would take a good one. */
function trySeccomp(): string | null {
  return failureOf("prctl", installNoFilter, "EFAULT")?.errnoName ?? null;
}

function tryIoUring(): string | null {
  try {
    closeSync(makeRing());
    return null;
  } catch (error) {
    return errnoNameOf(error) ?? String(error);
  }
}

function tryPort(port: number): string | null {
  try {
    const listener = Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
    listener.stop(true);
    return null;
  } catch (error) {
    return errnoNameOf(error) ?? String(error);
  }
}

function diskSpace(path: string): DiskSpace | null {
  try {
    const { bavail, bsize, ffree, files } = statfsSync(path);
    // Some file systems (btrfs) have no fixed number of files and say 0 of 0.
    return { freeBytes: bavail * bsize, freeFiles: files === 0 ? Number.MAX_SAFE_INTEGER : ffree };
  } catch {
    return null;
  }
}

async function dockerProblem(socket: string): Promise<string | null> {
  try {
    const answer = await fetch("http://localhost/_ping", {
      unix: socket,
      signal: AbortSignal.timeout(DOCTOR_DOCKER_TIMEOUT_MS),
    });
    return answer.ok ? null : `${socket} answers ${answer.status}`;
  } catch (error) {
    const reason = errnoNameOf(error) ?? (error as Error).message;
    return `no Docker daemon answers at ${socket} (${reason})`;
  }
}

function openFilesMax(): number | null {
  const line = readText("/proc/self/limits")?.match(/^Max open files +\S+ +(\S+)/m)?.[1];
  if (line === undefined) return null;
  return line === "unlimited" ? Number.MAX_SAFE_INTEGER : Number(line);
}
