/** Failures in front of the machine: of `src/sys` by its fault plan, of cgroup files by their interface. */

import { type CgroupIo, systemCgroupIo } from "../../src/cgroup/io.ts";
import { SyscallError } from "../../src/common/errors.ts";
import { setFaultPlan } from "../../src/sys/libc.ts";

const ERRNO = { EPERM: 1, EINTR: 4, ENOMEM: 12, EMFILE: 24, ENOSPC: 28 } as const;
/** An errno that is injected. */
export type ErrnoName = keyof typeof ERRNO;
/** All of them. */
export const ERRNO_NAMES = Object.keys(ERRNO) as ErrnoName[];

/** Decides which calls fail; both seams ask it. */
export class Injector {
  /** Names of the calls since it was armed. */
  readonly seen: string[] = [];
  #decide: ((call: string, index: number) => ErrnoName | null) | null = null;

  /** @param decide names the errno with which a call fails, or null */
  arm(decide: (call: string, index: number) => ErrnoName | null): void {
    this.seen.length = 0;
    this.#decide = decide;
    setFaultPlan((call) => {
      const name = this.ask(call);
      return name === null ? null : ERRNO[name];
    });
  }

  /** From now on nothing fails. */
  disarm(): void {
    this.#decide = null;
    setFaultPlan(null);
  }

  /** @returns how this call fails, or null */
  ask(call: string): ErrnoName | null {
    if (this.#decide === null) return null;
    this.seen.push(call);
    return this.#decide(call, this.seen.length - 1);
  }
}

const INJECTED = [
  "read",
  "write",
  "makeDir",
  "removeDir",
  "openWrite",
  "openReadWrite",
  "readFd",
  "writeFd",
] as const;

/** @returns the machine's cgroup file system, with failures in front of it */
export function failingCgroupIo(injector: Injector): CgroupIo {
  const io: CgroupIo = { ...systemCgroupIo };
  for (const method of INJECTED) {
    const real = systemCgroupIo[method] as (...args: unknown[]) => unknown;
    const failing = (...args: unknown[]): unknown => {
      const name = injector.ask(`cgroup ${method}`);
      // EINTR does not get through: the real operations repeat the call.
      if (name !== null && name !== "EINTR") {
        throw new SyscallError(method, ERRNO[name], name, String(args[0]));
      }
      return real(...args);
    };
    Object.assign(io, { [method]: failing });
  }
  return io;
}
