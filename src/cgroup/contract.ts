/**
 * What the engines know of cgroups: limits, usage, freezing, killing. Nothing above this directory
 * learns whether the host has version 2, version 1 or both.
 *
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html
 * @see https://docs.kernel.org/admin-guide/cgroup-v1/index.html
 */

/** What the kernel enforces for one cgroup; the three fields of `SandboxLimits` that cgroups cover. */
export interface CgroupLimits {
  /** Heap, page cache, tmpfs and kernel memory together; no swap on top of it. */
  readonly memoryMaxBytes: number;
  /** Processes and threads. */
  readonly processesMax: number;
  /** Percent of one CPU, at least 1. */
  readonly cpuPercent: number;
}

/** What was used since the cgroup was created or `resetUsage` was called; has the fields of `SandboxUsage`. */
export interface CgroupUsage {
  readonly memoryBytes: number;
  readonly memoryPeakBytes: number;
  readonly cpuUs: number;
  /** Time during which the CPU limit held it back. */
  readonly throttledUs: number;
  readonly outOfMemoryKills: number;
}

/** One group of processes, present in each hierarchy that is needed. */
export interface Cgroup {
  readonly name: string;
  /**
   * `cgroup.procs` files into which a process writes `0` to join; one per hierarchy. To be written in
   * this order: the first is the one that `freeze` and `killAll` act on, so that a process that is
   * killed half-way through cannot be missed.
   */
  readonly joinPaths: readonly string[];

  /**
   * Opens `joinPaths` for writing, once; the kernel checks the rights of the opener, so that a
   * process without any right can join through them. They stay the property of the cgroup. A child
   * with a cgroup namespace of its own must join before it makes that namespace.
   * @returns descriptors in the order of `joinPaths`, close-on-exec
   * @throws {SyscallError} syscall
   */
  openJoinFds(): readonly number[];

  /** Closes what `openJoinFds` opened, when nobody joins any more; idempotent. */
  closeJoinFds(): void;

  /**
   * Writes the limits that differ from those in force.
   * @param limits all of them
   * @throws {SyscallError} syscall (EBUSY where version 1 cannot go below what is in use)
   */
  setLimits(limits: CgroupLimits): void;

  /** @returns the processes in it, as seen from the worker's pid namespace */
  pids(): number[];

  /**
   * Stops every process in it without their knowing; idempotent. Version 2 finishes in the
   * background within microseconds; version 1 is asked repeatedly for a bounded time.
   * @throws {SyscallError} syscall
   */
  freeze(): void;

  /**
   * Lets them run again; idempotent.
   * @throws {SyscallError} syscall
   */
  thaw(): void;

  /** @returns whether every process in it is stopped by `freeze` now */
  isFrozen(): boolean;

  /**
   * Sends SIGKILL to everything in it, so that no instruction of the programs inside runs once this
   * has returned, whatever they fork or ignore. Thaws it. Does not wait until they are gone
   * (`waitEmpty` does), because a process with much memory takes milliseconds to die. What somebody
   * put into one hierarchy by hand, past the one that kills, is left to `waitEmpty`.
   * @throws {SyscallError} syscall
   */
  killAll(): void;

  /** @returns whether no process is left in any hierarchy */
  isEmpty(): boolean;

  /**
   * Waits without blocking the thread until nothing is left in it, after `killAll`; kills what is in one
   * of several hierarchies only.
   * @param hint settles when that is likely so: the first look is then, or soon without it
   * @param timeoutMs bound, default `DESTROY_TIMEOUT_MS`
   * @throws {OlError} internal when it still holds processes then
   */
  waitEmpty(hint?: Promise<unknown>, timeoutMs?: number): Promise<void>;

  /** @returns what it has used */
  usage(): CgroupUsage;

  /** @returns the memory that it holds now, in bytes; one read */
  memoryBytes(): number;

  /** @returns processes that the kernel killed for want of memory; one read, for the path of a call */
  outOfMemoryKills(): number;

  /**
   * Makes `usage` start from zero again; for a cgroup with nobody in it.
   * @param last what `usage` has just said
   * @returns false where this kernel cannot reset the peak of memory (version 2 before 6.12)
   */
  resetUsage(last: CgroupUsage): boolean;

  /**
   * Removes it from every hierarchy once it is empty; kills nothing; idempotent.
   * @throws {OlError} internal when processes or child cgroups stay in it for `DESTROY_TIMEOUT_MS`
   */
  remove(): Promise<void>;
}

/** The directory of one worker, below which all its cgroups lie. */
export interface CgroupRoot {
  readonly name: string;
  /** Where it lies, one path per hierarchy, for messages and tests. */
  readonly paths: readonly string[];

  /**
   * @param name one path component, unique below this root
   * @returns a new, empty cgroup without limits
   * @throws {SyscallError} syscall (EEXIST where it exists)
   */
  create(name: string): Cgroup;

  /**
   * Kills and removes everything below this root: what a worker that died left, frozen, full or
   * nested. Not for use while cgroups of this root are in use.
   * @returns the names (relative paths) that were removed
   * @throws {OlError} internal when something cannot be removed
   */
  reclaim(): Promise<string[]>;

  /**
   * Removes the root itself; its cgroups must be gone; idempotent.
   * @throws {OlError} internal when it is not empty
   */
  remove(): Promise<void>;
}

/** A shortcoming of this host, as `doctor` shows it. */
export interface CgroupGap {
  /** What is missing: a controller (`memory`) or a facility (`freezer`). */
  readonly what: string;
  /** What does not work without it. */
  readonly disables: string;
  /** The command or action that mends it. */
  readonly mend: string;
  /** Whether sandboxes cannot be made without it. */
  readonly fatal: boolean;
}

/** The cgroups of this machine, as found; looking changes nothing. */
export interface CgroupHost {
  /** `hybrid`: controllers in version 1 hierarchies and a version 2 hierarchy beside them. */
  readonly version: "v2" | "v1" | "hybrid" | "none";
  /** Names of the fatal gaps. */
  readonly missing: readonly string[];
  readonly gaps: readonly CgroupGap[];

  /** @returns one line for `doctor` and the worker's log */
  describe(): string;

  /**
   * Makes or adopts the directory of one worker and enables the controllers on the way to it.
   * @param name one path component, such as `openlambda-8080`
   * @throws {OlError} host_unsupported, with what is missing, what that disables and how to mend it
   */
  openRoot(name: string): CgroupRoot;
}
