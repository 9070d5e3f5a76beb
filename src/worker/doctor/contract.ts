/** What `doctor` looks at and what it says; the looking itself is in `host.ts`. */

import type { CgroupHost } from "../../cgroup/contract.ts";

/** How a check came out. `skip`: it could not be made, and another finding says why. */
export type FindingStatus = "ok" | "warn" | "fail" | "skip";

/** One line of the report. */
export interface Finding {
  /** Stable name for `--json`. */
  readonly id: string;
  readonly status: FindingStatus;
  /** What was found, one sentence without a period. */
  readonly found: string;
  /** What does not work because of it; null where all is well. */
  readonly disables: string | null;
  /** The command or step that mends it; null where all is well. */
  readonly mend: string | null;
}

/** How a program ended. */
export interface ProgramResult {
  /** Null where it could not be started or a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Room on a file system. */
export interface DiskSpace {
  readonly freeBytes: number;
  readonly freeFiles: number;
}

/** The machine, as far as the checks ask; tests take parts of it away. Nothing here changes it. */
export interface DoctorHost {
  readonly uid: number;
  /** As `uname -r` says it. */
  readonly kernelRelease: string;
  /** @returns a small file's text, or null where it cannot be read */
  readText(path: string): string | null;
  /** @returns the absolute path of a program on `PATH`, or null */
  which(program: string): string | null;
  /** Runs a program to its end, bounded in time. */
  run(argv: readonly string[]): ProgramResult;
  cgroups(): CgroupHost;
  /** Tries each call that puts a root together: @returns the first that fails and its errno, or null. */
  tryMountCalls(): { readonly call: string; readonly errnoName: string } | null;
  /** @returns null where a filter of system calls could be installed, else the errno's name */
  trySeccomp(): string | null;
  /** @returns null where an io_uring could be made, else the errno's name */
  tryIoUring(): string | null;
  /** @returns null where the port can be listened on, else the errno's name */
  tryPort(port: number): string | null;
  diskSpace(path: string): DiskSpace | null;
  /** @returns what keeps a Docker daemon from answering on this socket, or null where it does */
  dockerProblem(socket: string): Promise<string | null>;
  /** Hard limit of open files, or null where it is not known. */
  openFilesMax(): number | null;
}

/** What the report is about. */
export interface DoctorRequest {
  /** Where clusters would be, or the cluster. */
  readonly directory: string;
  /** Base of the cluster that is asked about; null without one: the host's own Python is looked at. */
  readonly baseDir: string | null;
  /** Ports that workers and registry would take. */
  readonly ports: readonly number[];
  readonly dockerSocket: string;
}
