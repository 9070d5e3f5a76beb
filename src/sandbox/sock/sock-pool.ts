/** The SOCK engine: creates sandboxes by forking zygotes inside the base. */

import { join } from "node:path";
import type { Cgroup, CgroupRoot } from "../../cgroup/contract.ts";
import { CgroupPool } from "../../cgroup/pool.ts";
import { errnoNameOf, OlError } from "../../common/errors.ts";
import { CODE_CACHE_MAX_BYTES, OUTPUT_WATCH_INTERVAL_MS } from "../../common/limits.ts";
import {
  GUEST_TRIES_MAX,
  SPARES_ROOT,
  SPARES_ROOT_MAKING_MAX,
  ZYGOTE_RESTART_DELAY_MS,
  ZYGOTE_SEND_RETRY_MS,
} from "../../common/zygote-limits.ts";
import type { Logger } from "../../common/log.ts";
import type {
  Sandbox,
  SandboxLimits,
  SandboxOrigin,
  SandboxPool,
  SandboxSpec,
} from "../contract.ts";
import { InstanceLogStore } from "../instance-logs.ts";
import { runCommand } from "./command-runner.ts";
import type { SandboxCommand, SandboxCommandResult } from "../command.ts";
import { CachedZygotes, type CachedZygoteSpec } from "./cached-zygotes.ts";
import { CodeCache } from "./code-cache.ts";
import type { GuestParts, GuestProcess } from "./guest-process.ts";
import { Loans } from "./loans.ts";
import { type RootZygote, type RootZygoteOptions, startRootZygote } from "./root-zygote.ts";
import { SockSandbox } from "./sock-sandbox.ts";
import { SpareStock } from "./spare-stock.ts";
import { watchFrozen } from "./thaw-watch.ts";
import { UidPool } from "./uid-pool.ts";
import type { Zygote } from "./zygote.ts";

/** Settings of the engine. */
export interface SockPoolOptions {
  /** What the root zygote's init is told. */
  readonly init: RootZygoteOptions["init"];
  readonly slot: number;
  /** Absolute `<cluster>/workers/worker-<N>`. */
  readonly workerDir: string;
  /** Where the worker's cgroups lie, reclaimed. */
  readonly cgroupRoot: CgroupRoot;
  readonly cgroupPoolSize: number;
  /** With which sandboxes are forked ahead of need. */
  readonly limits: SandboxLimits;
  readonly network: "host" | "none";
  /** Environment of every lambda, which zygotes have as well while they import; default: none. */
  readonly env?: Readonly<Record<string, string>>;
  readonly log: Logger;
  /** Where init and zygotes write what goes wrong. */
  readonly logFd: number | "inherit";
  /** What is started as init; default: this program itself. */
  readonly executable?: string;
}

/**
 * Limits of the root zygote, which runs trusted code only. It needs 20 MB itself, but the first pages
 * of each child, 2 MB, are charged here before the child joins its own cgroup, and stay charged
 * here: with 512 MB the kernel ended it at some 250 live sandboxes.
 */
const ROOT_ZYGOTE_LIMITS = {
  memoryMaxBytes: 8 * 1024 * 1024 * 1024,
  processesMax: 256,
  cpuPercent: 400,
};

/** One generation of the root zygote and what was forked from it directly. */
interface Root {
  readonly zygote: Zygote;
  readonly pid: number;
  readonly spares: SpareStock;
}

/** Creates sandboxes within namespaces of their own. */
export class SockPool implements SandboxPool {
  readonly #options: SockPoolOptions;
  readonly #parts: GuestParts;
  readonly #logStore: InstanceLogStore;
  readonly #codeCache = new CodeCache(CODE_CACHE_MAX_BYTES);
  readonly #zygoteCgroup: Cgroup;
  readonly #cached: CachedZygotes;
  readonly #sandboxes = new Set<SockSandbox>();
  readonly #watch: ReturnType<typeof setInterval>;
  readonly #endThawWatch: () => void;
  readonly #idPrefix = Date.now().toString(36);
  #nextNumber = 1;
  #root: Promise<Root>;
  #closed = false;

  private constructor(options: SockPoolOptions, zygoteCgroup: Cgroup) {
    this.#options = options;
    this.#zygoteCgroup = zygoteCgroup;
    const onError = (error: unknown): void => {
      if (!this.#closed)
        options.log.limited("sock.background", "warn", "sandbox work failed", { err: error });
    };
    const { cgroupRoot, cgroupPoolSize, limits } = options;
    const cgroups = new CgroupPool(cgroupRoot, cgroupPoolSize, limits, onError);
    const uids = new UidPool();
    this.#parts = {
      cgroups,
      uids,
      loans: new Loans(cgroups, uids, onError),
      shelf: null,
      privateNetwork: options.network === "none",
      onError,
    };
    this.#cached = new CachedZygotes({
      guests: this.#parts,
      sandboxLimits: limits,
      env: options.env ?? {},
      nextId: () => this.#newId(),
    });
    this.#logStore = new InstanceLogStore(options.workerDir, onError);
    this.#endThawWatch = watchFrozen(cgroupRoot);
    this.#root = this.#startRoot();
    this.#watch = setInterval(() => {
      for (const sandbox of this.#sandboxes) sandbox.checkOutput();
      this.#parts.loans.retry();
    }, OUTPUT_WATCH_INTERVAL_MS);
    this.#watch.unref();
  }

  /**
   * Starts the engine.
   * @param options base, cgroups, limits
   * @returns the engine with a root zygote that is ready
   * @throws {OlError} sandbox_create, host_unsupported
   */
  static async open(options: SockPoolOptions): Promise<SockPool> {
    const cgroup = options.cgroupRoot.create("root-zygote");
    try {
      cgroup.setLimits(ROOT_ZYGOTE_LIMITS);
      const pool = new SockPool(options, cgroup);
      await pool.#root;
      return pool;
    } catch (error) {
      await cgroup.remove();
      throw error;
    }
  }

  get live(): number {
    return this.#sandboxes.size;
  }

  /** Host process id of the outermost process of the root zygote, for the posture test and `status`. */
  async rootPid(): Promise<number> {
    return (await this.#root).pid;
  }

  async create(spec: SandboxSpec): Promise<Sandbox> {
    for (let tries = 1; ; tries++) {
      if (this.#closed) throw new OlError("engine_unavailable", "The sandbox engine is closed");
      const { guest, origin } = await this.#takeGuest(spec);
      try {
        return this.#assign(guest, origin, spec);
      } catch (error) {
        await guest.remove();
        // It died in stock, alone or with its zygote, and has seen nothing of the lambda: another
        // one serves as well, once the worker has been told of what died.
        if (errnoNameOf(error) !== "EPIPE" || tries >= GUEST_TRIES_MAX) throw error;
        await Bun.sleep(ZYGOTE_SEND_RETRY_MS);
      }
    }
  }

  /**
   * Runs a program in a sandbox of its own, with the host's network; a `CommandRunner`.
   * @param spec argv, environment, directories, limits
   * @returns how it ended
   * @throws {OlError} sandbox_create, engine_unavailable
   */
  async run(spec: SandboxCommand): Promise<SandboxCommandResult> {
    if (this.#closed) throw new OlError("engine_unavailable", "The sandbox engine is closed");
    const { zygote } = await this.#root;
    const id = this.#newId();
    const workDir = join(this.#options.workerDir, "install", id);
    const { slot } = this.#options;
    return await runCommand(spec, { id, zygote, guests: this.#parts, slot, workDir });
  }

  /**
   * Makes a zygote of the import cache.
   * @param parentId the zygote to fork from; null: the root
   * @param spec its id, packages and imports
   * @returns what importing took, in microseconds
   * @throws {OlError} sandbox_create
   */
  async createZygote(
    parentId: string | null,
    spec: CachedZygoteSpec,
  ): Promise<{ importUs: number }> {
    const parent = parentId === null ? (await this.#root).zygote : this.#cached.get(parentId);
    if (parent === null) throw new OlError("sandbox_create", `The zygote ${parentId} is gone`);
    return await this.#cached.create(parent, spec);
  }

  /** Ends a zygote and everything forked from it. @param id of a zygote */
  async destroyZygote(id: string): Promise<void> {
    await this.#cached.destroy(id);
  }

  /** @param id of a zygote @returns bytes that it holds beyond its parent */
  memoryBytes(id: string): number {
    return this.#cached.memoryBytes(id);
  }

  /** @param id of a zygote @returns sandboxes and zygotes forked from it that live */
  liveSandboxes(id: string): number {
    return this.#cached.inUse(id);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#watch);
    await Promise.all([...this.#sandboxes].map((sandbox) => sandbox.destroy()));
    await this.#cached.close();
    const root = await this.#root.catch(() => null);
    if (root !== null) {
      await root.spares.close();
      root.zygote.close();
      await root.zygote.gone;
    }
    // First: a child that the host would not let us thaw may not have joined its cgroup everywhere.
    await this.#parts.loans.settle();
    this.#zygoteCgroup.killAll();
    await this.#zygoteCgroup.waitEmpty();
    this.#zygoteCgroup.closeJoinFds();
    await this.#zygoteCgroup.remove();
    await this.#parts.cgroups.close();
    this.#endThawWatch();
    this.#logStore.shut();
  }

  /** From the chosen zygote, or from the root where that one is gone meanwhile. */
  async #takeGuest(spec: SandboxSpec): Promise<{ guest: GuestProcess; origin: SandboxOrigin }> {
    const { limits, zygoteId } = spec;
    if (zygoteId !== null) {
      const guest = await this.#cached.take(zygoteId, (stock) => this.#takeFrom(stock, limits));
      if (guest !== null) return { guest, origin: "zygote" };
    }
    const guest = await this.#takeFrom((await this.#root).spares, limits);
    return { guest, origin: "fresh" };
  }

  async #takeFrom(stock: SpareStock, limits: SandboxLimits): Promise<GuestProcess> {
    const standard = this.#options.limits;
    if (limits.scratchMaxBytes !== standard.scratchMaxBytes) return await stock.fork(limits);
    const guest = await stock.take();
    if (limits !== standard) guest.cgroup.setLimits(limits);
    return guest;
  }

  #assign(guest: GuestProcess, origin: SandboxOrigin, spec: SandboxSpec): Sandbox {
    const logs = this.#logStore.open(spec.lambdaName, guest.id);
    try {
      const sandbox: SockSandbox = new SockSandbox(spec, {
        guest,
        origin,
        logs,
        logStore: this.#logStore,
        code: this.#codeCache.get(spec.codeId),
        onCode: (code) => {
          this.#codeCache.set(spec.codeId, code);
        },
        onRemoved: () => this.#sandboxes.delete(sandbox),
        onError: this.#parts.onError,
      });
      this.#sandboxes.add(sandbox);
      return sandbox;
    } catch (error) {
      this.#logStore.close(logs, 0);
      throw error;
    }
  }

  #newId(): string {
    return `${this.#idPrefix}-${String(this.#nextNumber++).padStart(7, "0")}`;
  }

  /** @param listener hears of each cached zygote that ended without having been asked to */
  onZygoteGone(listener: (id: string) => void): void {
    this.#cached.onGone = listener;
  }

  async #startRoot(): Promise<Root> {
    const { init, slot, logFd, limits, executable, log } = this.#options;
    const started: RootZygote = await startRootZygote({
      init,
      slot,
      logFd,
      cgroup: this.#zygoteCgroup,
      ...(executable === undefined ? {} : { executable }),
    });
    log.info("the root zygote is ready", { op: "sock.root", pinned_bytes: started.pinnedBytes });
    const sizes = { atRest: SPARES_ROOT, inDemand: SPARES_ROOT, making: SPARES_ROOT_MAKING_MAX };
    const spares = new SpareStock(started.zygote, this.#parts, limits, sizes, () => this.#newId());
    spares.refill();
    void this.#watchRoot(started.zygote, spares);
    return { ...started, spares };
  }

  /** Where the root zygote dies, and all sandboxes with it, a new one takes its place. */
  async #watchRoot(zygote: Zygote, spares: SpareStock): Promise<void> {
    await zygote.gone;
    if (this.#closed) return;
    this.#options.log.error("the root zygote died; starting another", { op: "sock.root" });
    void spares.close();
    this.#root = this.#restartRoot();
    this.#root.catch((error: unknown) => {
      this.#parts.onError(error);
    });
  }

  async #restartRoot(): Promise<Root> {
    for (;;) {
      try {
        this.#zygoteCgroup.killAll();
        await this.#zygoteCgroup.waitEmpty();
        return await this.#startRoot();
      } catch (error) {
        if (this.#closed) throw error;
        this.#options.log.error("cannot start the root zygote", { op: "sock.root", err: error });
        await Bun.sleep(ZYGOTE_RESTART_DELAY_MS);
      }
    }
  }
}
