/**
 * Zygotes of the import cache: forked from the root zygote or from each other, contained in
 * namespaces, a cgroup and an identity of their own before they import anything.
 */

import { closeSync, openSync } from "node:fs";
import type { Cgroup } from "../../cgroup/contract.ts";
import { OlError } from "../../common/errors.ts";
import {
  SPARES_CACHED,
  UIDS_PER_WORKER,
  ZYGOTE_IMPORT_TIMEOUT_MS,
  ZYGOTE_SCRATCH_BYTES,
} from "../../common/limits.ts";
import { SOCK_SEQPACKET } from "../../sys/constants.ts";
import { socketPair } from "../../sys/socket.ts";
import type { PackageDir, SandboxLimits } from "../contract.ts";
import type { GuestParts } from "./guest-process.ts";
import { SpareStock } from "./spare-stock.ts";
import { Zygote } from "./zygote.ts";

/** What a zygote is made of. */
export interface CachedZygoteSpec {
  readonly id: string;
  /** On its `sys.path`, in order. */
  readonly packages: readonly PackageDir[];
  /** Modules that it imports, in order. */
  readonly imports: readonly string[];
}

/** A cached zygote and what it holds. */
interface Entry {
  readonly zygote: Zygote;
  readonly cgroup: Cgroup;
  readonly spares: SpareStock;
}

/** What all of them share. */
export interface CachedZygoteParts {
  readonly guests: GuestParts;
  /** Limits with which spares are forked. */
  readonly sandboxLimits: SandboxLimits;
  /** Limits of a zygote itself while it imports. */
  readonly zygoteLimits: { memoryMaxBytes: number; processesMax: number; cpuPercent: number };
  /** Environment while it imports. */
  readonly env: Readonly<Record<string, string>>;
  readonly nextId: () => string;
}

/** The engine's side of the import cache. */
export class CachedZygotes {
  readonly #parts: CachedZygoteParts;
  readonly #entries = new Map<string, Entry>();
  readonly #ending = new Set<string>();
  /** Hears of each zygote that ended without having been asked to. */
  onGone: (id: string) => void = () => {};

  /** @param parts cgroups, ids, limits */
  constructor(parts: CachedZygoteParts) {
    this.#parts = parts;
  }

  /**
   * @param id of a zygote
   * @returns its stock of spares, or null where it is not (any more) there
   */
  sparesOf(id: string): SpareStock | null {
    const entry = this.#entries.get(id);
    return entry !== undefined && entry.zygote.isAlive ? entry.spares : null;
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
   * @returns what importing took, in microseconds, as the guest says
   * @throws {OlError} sandbox_create with the reason; nothing of it is left then
   */
  async create(parent: Zygote, spec: CachedZygoteSpec): Promise<{ importUs: number }> {
    const { guests, zygoteLimits } = this.#parts;
    const uid = guests.uids.acquire();
    let cgroup: Cgroup;
    try {
      cgroup = guests.cgroups.acquire();
    } catch (error) {
      guests.uids.release(uid);
      throw error;
    }
    let zygote: Zygote | null = null;
    const release = async (): Promise<void> => {
      this.#entries.delete(spec.id);
      zygote?.close();
      await guests.loans.giveBack(cgroup, uid, false);
    };
    try {
      cgroup.setLimits(zygoteLimits);
      zygote = await this.#fork(parent, spec, uid, cgroup);
      const { importUs } = await zygote.expect("ready", ZYGOTE_IMPORT_TIMEOUT_MS);
      this.#adopt(spec.id, zygote, cgroup);
      void this.#watch(zygote, release);
      return { importUs: importUs ?? 0 };
    } catch (error) {
      await release();
      throw error;
    }
  }

  /**
   * Ends a zygote and everything that was forked from it; idempotent.
   * @param id of a zygote
   */
  async destroy(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#ending.add(id);
    await entry.spares.close();
    entry.zygote.close();
    await entry.zygote.gone;
  }

  /**
   * @param id of a zygote
   * @returns bytes that its cgroup holds: what it imported beyond its parent; 0 where it is gone
   */
  memoryBytes(id: string): number {
    return this.#entries.get(id)?.cgroup.usage().memoryBytes ?? 0;
  }

  /**
   * @param id of a zygote
   * @returns sandboxes and zygotes forked from it that are alive, spares left out
   */
  inUse(id: string): number {
    const entry = this.#entries.get(id);
    if (entry === undefined) return 0;
    return entry.zygote.children - entry.spares.held;
  }

  /** Ends all of them. */
  async close(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((id) => this.destroy(id)));
  }

  #adopt(id: string, zygote: Zygote, cgroup: Cgroup): void {
    const { guests, sandboxLimits, nextId } = this.#parts;
    const spares = new SpareStock(zygote, guests, sandboxLimits, SPARES_CACHED, nextId);
    this.#entries.set(id, { zygote, cgroup, spares });
    spares.refill();
  }

  async #watch(zygote: Zygote, release: () => Promise<void>): Promise<void> {
    await zygote.gone;
    if (!this.#ending.delete(zygote.id)) this.onGone(zygote.id);
    // Its spares died with it, but nobody will ever take them out of the stock.
    await this.#entries.get(zygote.id)?.spares.close();
    await release().catch(this.#parts.guests.onError);
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
