/**
 * Zygotes of the import cache: forked from the root zygote or from each other, contained in
 * namespaces, a cgroup and an identity of their own before they import anything.
 */

import { closeSync, openSync } from "node:fs";
import type { Cgroup } from "../../cgroup/contract.ts";
import { CgroupShelf } from "../../cgroup/pool.ts";
import { OlError } from "../../common/errors.ts";
import { UIDS_PER_WORKER } from "../../common/limits.ts";
import { MODULE_NAME_MAX_CHARS } from "../../common/package-limits.ts";
import {
  SPARES_CACHED,
  SPARES_CACHED_IN_DEMAND,
  SPARES_CACHED_MAKING_MAX,
  ZYGOTE_IMPORT_TIMEOUT_MS,
  ZYGOTE_NAMESPACES_MAX_COUNT,
  ZYGOTE_SCRATCH_BYTES,
} from "../../common/zygote-limits.ts";
import { SOCK_SEQPACKET } from "../../sys/constants.ts";
import { socketPair } from "../../sys/socket.ts";
import type { PackageDir, SandboxLimits } from "../contract.ts";
import type { GuestParts, GuestProcess } from "./guest-process.ts";
import { SpareStock, type StockSizes } from "./spare-stock.ts";
import { ZygoteShare } from "./zygote-share.ts";
import { Zygote } from "./zygote.ts";

/** What a zygote is made of. */
export interface CachedZygoteSpec {
  readonly id: string;
  /** On its `sys.path`, in order. */
  readonly packages: readonly PackageDir[];
  /** Modules that it imports, in order. */
  readonly imports: readonly string[];
  /** Bound of the imports in milliseconds, at most and by default `ZYGOTE_IMPORT_TIMEOUT_MS`. */
  readonly timeoutMs?: number;
  /** Memory that it may take in bytes, at most and by default `ZYGOTE_MEMORY_MAX_BYTES`. */
  readonly memoryMaxBytes?: number;
}

/** A cached zygote and what it holds. */
interface Entry {
  readonly zygote: Zygote;
  /** Id of whom it was forked from. */
  readonly parentId: string;
  readonly cgroup: Cgroup;
  readonly spares: SpareStock;
  readonly shelf: CgroupShelf;
  /** Guests that were taken, until nothing is left of them: not what the zygote says of them. */
  readonly users: Set<GuestProcess>;
  readonly share: ZygoteShare;
}

/** What all of them share. */
export interface CachedZygoteParts {
  readonly guests: GuestParts;
  /** Limits with which spares are forked. */
  readonly sandboxLimits: SandboxLimits;
  /** Environment while it imports, beside `IMPORT_ENV` of `handler.py`. */
  readonly env: Readonly<Record<string, string>>;
  readonly nextId: () => string;
}

/** @returns packages that several distributions may share: parents of modules that no distribution has alone */
function namespacesOf(packages: readonly PackageDir[]): readonly string[] {
  const modules = packages.flatMap((one) => one.modules);
  const parents = new Set<string>();
  for (const module of modules) {
    const parts = module.split(".");
    for (let depth = 1; depth < parts.length; depth++) parents.add(parts.slice(0, depth).join("."));
  }
  for (const module of modules) parents.delete(module);
  // Distributions choose their names, and all have to go into one request.
  const fitting = [...parents].filter((name) => name.length <= MODULE_NAME_MAX_CHARS);
  return fitting.slice(0, ZYGOTE_NAMESPACES_MAX_COUNT);
}

const SPARES: StockSizes = {
  atRest: SPARES_CACHED,
  inDemand: SPARES_CACHED_IN_DEMAND,
  making: SPARES_CACHED_MAKING_MAX,
};

/** The engine's side of the import cache. */
export class CachedZygotes {
  readonly #parts: CachedZygoteParts;
  readonly #entries = new Map<string, Entry>();
  readonly #ending = new Set<string>();
  /** Those that import. */
  readonly #making = new Map<string, Zygote>();
  /** Hears of each zygote that ended without having been asked to. */
  onGone: (id: string) => void = () => {};

  /** @param parts cgroups, ids, limits */
  constructor(parts: CachedZygoteParts) {
    this.#parts = parts;
  }

  /**
   * Takes a guest of a zygote, which counts as used by it until the guest is removed.
   * @param id of the zygote
   * @param from takes it out of the zygote's stock
   * @returns the guest, or null where this zygote does not (any more) give one
   */
  async take(
    id: string,
    from: (stock: SpareStock) => Promise<GuestProcess>,
  ): Promise<GuestProcess | null> {
    const entry = this.#entries.get(id);
    if (entry === undefined || !entry.zygote.isAlive) return null;
    let guest: GuestProcess;
    const taken = from(entry.spares);
    entry.share.used(entry.users.size + 1);
    try {
      guest = await taken;
    } catch (error) {
      // The root zygote serves as well, only slower; where the host is the reason, it says so too.
      this.#parts.guests.onError(error);
      return null;
    }
    entry.users.add(guest);
    void guest.removed.then(() => entry.users.delete(guest));
    return guest;
  }

  /**
   * @param id of a zygote
   * @returns the zygote, or null where it is not there
   */
  get(id: string): Zygote | null {
    const zygote = this.#entries.get(id)?.zygote;
    return zygote !== undefined && zygote.isAlive ? zygote : null;
  }

  /**
   * Forks and contains a zygote, then lets it import.
   * @param parent the zygote to fork from
   * @param spec packages and imports
   * @returns what importing took, in microseconds, as the guest says, but no longer than we waited
   * @throws {OlError} sandbox_create with the reason; nothing of it is left then
   */
  async create(parent: Zygote, spec: CachedZygoteSpec): Promise<{ importUs: number }> {
    const { guests } = this.#parts;
    const { cgroup, uid } = guests.loans.borrow();
    let zygote: Zygote | null = null;
    const release = async (): Promise<void> => {
      const entry = this.#entries.get(spec.id);
      entry?.share.close();
      if (entry !== undefined) guests.loans.resize(entry.shelf, 0);
      this.#entries.delete(spec.id);
      this.#making.delete(spec.id);
      zygote?.close();
      await guests.loans.giveBack({ cgroup, uid }, { again: false });
    };
    try {
      const share = new ZygoteShare(cgroup, guests.onError, spec.memoryMaxBytes);
      zygote = await this.#fork(parent, spec, uid, cgroup);
      this.#making.set(spec.id, zygote);
      const startMs = performance.now();
      const { importUs = 0 } = await zygote.expect(
        "ready",
        Math.min(ZYGOTE_IMPORT_TIMEOUT_MS, spec.timeoutMs ?? ZYGOTE_IMPORT_TIMEOUT_MS),
      );
      const waitedUs = (performance.now() - startMs) * 1000;
      this.#making.delete(spec.id);
      this.#adopt(spec.id, { zygote, parentId: parent.id, cgroup, share });
      void this.#watch(zygote, release);
      return { importUs: Math.min(importUs, waitedUs) };
    } catch (error) {
      await release();
      throw error;
    }
  }

  /**
   * Ends a zygote and everything that was forked from it; idempotent. One that still imports is given up:
   * its creation fails.
   * @param id of a zygote
   */
  async destroy(id: string): Promise<void> {
    this.#making.get(id)?.close();
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#ending.add(id);
    entry.zygote.close();
    await entry.spares.close();
    await entry.zygote.gone;
  }

  /**
   * @param id of a zygote
   * @returns bytes that its cgroup holds: what it imported beyond its parent; 0 where it is gone
   */
  memoryBytes(id: string): number {
    return this.#entries.get(id)?.cgroup.memoryBytes() ?? 0;
  }

  /**
   * @param id of a zygote
   * @returns sandboxes and zygotes forked from it that are alive, spares left out
   */
  inUse(id: string): number {
    let count = this.#entries.get(id)?.users.size ?? 0;
    for (const { parentId } of this.#entries.values()) if (parentId === id) count += 1;
    return count;
  }

  /** Ends all of them. */
  async close(): Promise<void> {
    const ids = [...this.#making.keys(), ...this.#entries.keys()];
    await Promise.all(ids.map((id) => this.destroy(id)));
  }

  #adopt(id: string, made: Omit<Entry, "spares" | "shelf" | "users">): void {
    const { guests, sandboxLimits, nextId } = this.#parts;
    const shelf = new CgroupShelf();
    const parts = { ...guests, shelf };
    const spares = new SpareStock(made.zygote, parts, sandboxLimits, SPARES, nextId);
    this.#entries.set(id, { ...made, spares, shelf, users: new Set() });
    spares.refill();
    made.share.rest();
  }

  async #watch(zygote: Zygote, release: () => Promise<void>): Promise<void> {
    await zygote.gone;
    this.#stopNow(zygote.id);
    if (!this.#ending.delete(zygote.id)) this.onGone(zygote.id);
    // Its spares died with it, but nobody will ever take them out of the stock.
    await this.#entries.get(zygote.id)?.spares.close();
    await release().catch(this.#parts.guests.onError);
  }

  /** One that hangs does not see the end of its socket. */
  #stopNow(id: string): void {
    try {
      this.#entries.get(id)?.cgroup.killAll();
    } catch (error) {
      this.#parts.guests.onError(error);
    }
  }

  async #fork(
    parent: Zygote,
    spec: CachedZygoteSpec,
    uid: number,
    cgroup: Cgroup,
  ): Promise<Zygote> {
    const { guests, env } = this.#parts;
    const joinFds = cgroup.openJoinFds();
    const log = openSync("/dev/null", "w");
    let pair: [number, number];
    try {
      pair = socketPair(SOCK_SEQPACKET);
    } catch (error) {
      closeSync(log);
      throw error;
    }
    const [own, theirs] = pair;
    const zygote = await Zygote.open(spec.id, own);
    const request = {
      op: "zygote",
      id: spec.id,
      uid,
      descriptors: 2 + joinFds.length,
      ids: UIDS_PER_WORKER,
      packages: spec.packages.map(({ dir }) => `/packages/${dir}`),
      imports: spec.imports,
      namespaces: namespacesOf(spec.packages),
      env,
      scratchMaxBytes: ZYGOTE_SCRATCH_BYTES,
      privateNetwork: guests.privateNetwork,
    };
    const sent = (): void => {
      closeSync(theirs);
      closeSync(log);
    };
    try {
      parent.fork(request, [theirs, log, ...joinFds], sent, (exit) => {
        // Its socket closes with it; a child that never ran has no socket to close.
        if (exit.kind === "refused") zygote.close();
      });
    } catch (error) {
      zygote.close();
      throw error;
    }
    if (!parent.isAlive) throw new OlError("sandbox_create", `The zygote ${parent.id} is gone`);
    return zygote;
  }
}
