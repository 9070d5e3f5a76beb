/**
 * One forked child from its request to its last trace: first a spare that waits enclosed in its
 * namespaces and cgroup, then, once a lambda is assigned, the process of a sandbox.
 */

import { closeSync } from "node:fs";
import type { Cgroup, CgroupUsage } from "../../cgroup/contract.ts";
import type { CgroupPool, CgroupShelf, LastWords } from "../../cgroup/pool.ts";
import { OlError } from "../../common/errors.ts";
import { EXIT_REPORT_TIMEOUT_MS } from "../../common/limits.ts";
import { GUEST_SECOND_LOOK_MS } from "../../common/zygote-limits.ts";
import {
  GuestConnection,
  type GuestEvents,
  type GuestReady,
} from "../../guest/guest-connection.ts";
import { encodeAssign, encodeFrame, FrameType } from "../../guest/wire.ts";
import { connectFd } from "../../sys/connect-fd.ts";
import {
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  SOCK_STREAM,
} from "../../sys/constants.ts";
import { openTreeClone, setDetachedMountAttributes } from "../../sys/mount.ts";
import { sendWithFds, socketPair } from "../../sys/socket.ts";
import type { SandboxLimits } from "../contract.ts";
import type { Loans } from "./loans.ts";
import type { UidPool } from "./uid-pool.ts";
import type { ChildExit, Zygote } from "./zygote.ts";

/** What all guests of an engine share. */
export interface GuestParts {
  readonly cgroups: CgroupPool;
  readonly uids: UidPool;
  /** Takes both back. */
  readonly loans: Loans;
  /** Cgroups for children of one zygote alone, which runs third-party code; null: all share the pool's. */
  readonly shelf: CgroupShelf | null;
  readonly privateNetwork: boolean;
  /** Told of failures in the background. */
  readonly onError: (error: unknown) => void;
}

/** What a lambda's process is told; the guest's side is `handler.py` and `sandbox.py`. */
export interface Assignment {
  readonly codeDir: string;
  readonly stdoutFd: number;
  readonly stderrFd: number;
  readonly code: Uint8Array;
  readonly config: {
    readonly env: Readonly<Record<string, string>>;
    readonly packages: readonly string[];
    readonly concurrency: number;
    readonly fileMaxBytes: number;
    readonly processesMax: number;
  };
}

const READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

/**
 * @param path host directory
 * @param attributes `MOUNT_ATTR_*`
 * @returns a detached mount of it, owned by the caller
 * @throws {SyscallError} of open_tree or mount_setattr
 */
export function detachedMount(path: string, attributes: bigint): number {
  const fd = openTreeClone(path);
  try {
    setDetachedMountAttributes(fd, attributes);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A forked child. */
export class GuestProcess {
  readonly id: string;
  readonly zygote: Zygote;
  readonly cgroup: Cgroup;
  /** How it ended, as its zygote says; never rejects. */
  readonly exited: Promise<ChildExit>;
  /** Settles when no process of it is left, which may be long after `remove`; never rejects. */
  readonly emptied: Promise<void>;
  readonly #resolveEmptied: () => void;
  /** Settles when its stream ends or its zygote says that it ended; never rejects. */
  readonly ended: Promise<unknown>;
  /** Settles when nothing of it is left; never rejects. */
  readonly removed: Promise<void>;
  readonly #parts: GuestParts;
  readonly #uid: number;
  readonly #fd: number;
  #connection: GuestConnection | null = null;
  #listener: GuestEvents | null = null;
  #ended: { error: OlError | null } | null = null;
  #removing: Promise<boolean> | null = null;
  readonly #heard = Promise.withResolvers<void>();
  readonly #streamEnded = Promise.withResolvers<void>();
  readonly #resolveRemoved: () => void;
  /** Whether it has said that it is enclosed; before that it may not yet be in its cgroup. */
  #isHeard = false;
  /** Set when its cgroup is somebody else's. */
  #lastUsage: CgroupUsage | null | undefined;

  private constructor(
    id: string,
    zygote: Zygote,
    parts: GuestParts,
    own: {
      uid: number;
      cgroup: Cgroup;
      fd: number;
      exited: Promise<ChildExit>;
    },
  ) {
    this.id = id;
    this.zygote = zygote;
    this.#parts = parts;
    this.#uid = own.uid;
    this.cgroup = own.cgroup;
    this.#fd = own.fd;
    this.exited = own.exited;
    const emptied = Promise.withResolvers<void>();
    this.emptied = emptied.promise;
    this.#resolveEmptied = emptied.resolve;
    this.ended = Promise.race([own.exited, this.#streamEnded.promise]);
    const removed = Promise.withResolvers<void>();
    this.removed = removed.promise;
    this.#resolveRemoved = removed.resolve;
  }

  /**
   * Forks a child that encloses itself and waits for a lambda.
   * @param id names it in the zygote's reports
   * @param zygote its parent
   * @param parts cgroups and ids
   * @param limits what its cgroup and its scratch space get
   * @throws {OlError} sandbox_create, pool_exhausted; a SyscallError where the host is out of something
   */
  static async fork(
    id: string,
    zygote: Zygote,
    parts: GuestParts,
    limits: SandboxLimits,
  ): Promise<GuestProcess> {
    const { cgroup, uid } = parts.loans.borrow(parts.shelf);
    let guest: GuestProcess | null = null;
    try {
      cgroup.setLimits(limits);
      const { own, exited } = GuestProcess.#request(id, zygote, parts, uid, cgroup, limits);
      const held = { uid, cgroup, fd: own, exited };
      guest = new GuestProcess(id, zygote, parts, held);
      await guest.#connect();
      return guest;
    } catch (error) {
      if (guest !== null) await guest.remove();
      else await parts.loans.giveBack({ cgroup, uid }, { again: parts.shelf ?? true });
      throw error;
    }
  }

  static #request(
    id: string,
    zygote: Zygote,
    parts: GuestParts,
    uid: number,
    cgroup: Cgroup,
    limits: SandboxLimits,
  ): { own: number; exited: Promise<ChildExit> } {
    const joinFds = cgroup.openJoinFds();
    const [own, theirs] = socketPair(SOCK_STREAM);
    const { promise, resolve } = Promise.withResolvers<ChildExit>();
    const request = {
      op: "spare",
      id,
      uid,
      descriptors: 1 + joinFds.length,
      scratchMaxBytes: limits.scratchMaxBytes,
      fileMaxBytes: limits.scratchMaxBytes,
      processesMax: limits.processesMax,
      privateNetwork: parts.privateNetwork,
    };
    // The kernel has duplicated them for the child: a thousand sandboxes must not hold them here too.
    const closeTheirs = (): void => {
      closeSync(theirs);
      cgroup.closeJoinFds();
    };
    try {
      zygote.fork(request, [theirs, ...joinFds], closeTheirs, resolve);
    } catch (error) {
      closeSync(own);
      throw error;
    }
    return { own, exited: promise };
  }

  async #connect(): Promise<void> {
    const ended = (error: OlError | null): void => {
      this.#ended = { error };
      this.#streamEnded.resolve();
      this.#listener?.onEnd(error);
    };
    let connection: GuestConnection | null = null;
    let closedEarly = false;
    const early: Uint8Array[] = [];
    const closed = (): void => {
      closedEarly = true;
      connection?.closed();
    };
    const socket = await connectFd(this.#fd, {
      data: (_socket, data) => {
        if (connection === null) early.push(data);
        else connection.received(data);
      },
      drain: () => connection?.writable(),
      close: closed,
      error: closed,
    });
    const events = {
      onEnclosed: () => {
        this.#isHeard = true;
        this.#heard.resolve();
      },
      onReady: (ready: GuestReady) => this.#listener?.onReady(ready),
      onEnd: ended,
    };
    connection = new GuestConnection(socket, events, true);
    this.#connection = connection;
    for (const data of early) connection.received(data);
    if (closedEarly) connection.closed();
  }

  /** Whether it can still be given a lambda. */
  get isUsable(): boolean {
    return this.#ended === null && this.#removing === null && this.zygote.isAlive;
  }

  /**
   * Waits until it says that it is enclosed.
   * @param timeoutMs bound
   * @returns `silent` where it says nothing, `ended` where it will never do so
   */
  async enclosed(timeoutMs: number): Promise<"enclosed" | "ended" | "silent"> {
    if (this.#isHeard) return "enclosed";
    const heard = this.#heard.promise.then(() => "enclosed" as const);
    const ended = this.ended.then(() => "ended" as const);
    const first = await Promise.race([heard, ended, after(timeoutMs)]);
    // A worker that was held up itself reads what has arrived meanwhile before it judges.
    return first ?? (await Promise.race([heard, ended, after(GUEST_SECOND_LOOK_MS)])) ?? "silent";
  }

  /** Processes of it that the kernel killed for want of memory. */
  get outOfMemoryKills(): number {
    return this.cgroup.outOfMemoryKills();
  }

  /**
   * @returns what it took, for the log of a failure: peak of memory, time that the CPU limit held it
   *   back, processes killed for want of memory; nothing where its cgroup cannot be read
   */
  costs(): Readonly<Record<string, number>> {
    try {
      const { memoryPeakBytes, throttledUs, outOfMemoryKills } = this.cgroup.usage();
      return { memoryPeakBytes, throttledUs, outOfMemoryKills };
    } catch {
      return {};
    }
  }

  /**
   * @returns what it uses, or has used by its end
   * @throws {OlError} syscall, internal: where that cannot be read
   */
  usage(): CgroupUsage {
    if (this.#lastUsage === undefined) return this.cgroup.usage();
    if (this.#lastUsage !== null) return this.#lastUsage;
    throw new OlError("internal", `Cannot tell what the sandbox ${this.id} has used`);
  }

  /** The calls of the guest. */
  get connection(): GuestConnection {
    if (this.#connection === null) {
      throw new OlError("sandbox_create", `Cannot use the sandbox ${this.id}: it is not connected`);
    }
    return this.#connection;
  }

  /**
   * Gives it its lambda. Everything it needs goes with this one message.
   * @param assignment code, output files, settings
   * @param listener who hears of loading and of the end of the stream
   * @throws {SyscallError} where the host is out of something; the guest must be removed then
   */
  assign(assignment: Assignment, listener: GuestEvents): void {
    const payload = encodeAssign(assignment.config, assignment.code);
    const frame = encodeFrame(FrameType.ASSIGN, 0, payload);
    const code = detachedMount(assignment.codeDir, READ_ONLY);
    try {
      const fds = [code, assignment.stdoutFd, assignment.stderrFd];
      const sent = sendWithFds(this.#fd, frame, fds);
      if (sent < frame.byteLength) this.connection.send(frame.subarray(sent));
    } finally {
      closeSync(code);
    }
    this.#listener = listener;
    if (this.#ended !== null) listener.onEnd(this.#ended.error);
  }

  /** How it ended, or null where nobody says so in time. */
  async exitReport(): Promise<ChildExit | null> {
    return await Promise.race([this.exited, after(EXIT_REPORT_TIMEOUT_MS)]);
  }

  /**
   * Kills everything in it and gives back what it held; idempotent. Its user id is only used
   * again once the kernel shows its cgroup empty.
   * @param isFrozen whether its cgroup may be frozen
   * @returns whether that is so now; else `emptied` tells when
   */
  remove(isFrozen = false): Promise<boolean> {
    this.#removing ??= this.#remove(isFrozen);
    return this.#removing;
  }

  /** A zygote that once did not do as it was asked is not waited for, and what is frozen does not die of a signal. */
  #lastWords(isFrozen: boolean): LastWords {
    const { exited, zygote, id } = this;
    if (!zygote.isObedient || isFrozen || !this.#isHeard) return { ended: exited };
    const ask = (): void => {
      zygote.kill(id);
    };
    const onIgnored = (): void => {
      zygote.noteDisobedience();
    };
    return { ended: exited, ask, onIgnored };
  }

  async #remove(isFrozen: boolean): Promise<boolean> {
    if (!this.#isHeard) await this.#endUnheard();
    const { isEmpty, usage } = await this.#parts.loans.giveBack(
      { cgroup: this.cgroup, uid: this.#uid },
      {
        again: this.#parts.shelf ?? true,
        last: this.#lastWords(isFrozen),
        onReturned: this.#resolveEmptied,
      },
    );
    if (isEmpty) this.#lastUsage = usage;
    this.#connection?.closed();
    this.#resolveRemoved();
    return isEmpty;
  }

  /**
   * A child that has just been forked joins its cgroup by itself: killing the cgroup may come too
   * early, and then the cgroup would be lent to somebody else with this child in it.
   */
  async #endUnheard(): Promise<void> {
    try {
      this.cgroup.killAll();
    } catch (error) {
      this.#parts.onError(error);
    }
    this.#connection?.closed();
    await this.exitReport();
  }
}

async function after(timeoutMs: number): Promise<null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => {
    resolve(null);
  }, timeoutMs);
  timer.unref();
  return await promise;
}
