/** What comes before a call's wait for an instance: the wait for code and packages of its lambda. */

import type { Clock } from "../common/clock.ts";
import type { OlError } from "../common/errors.ts";
import type { Waits } from "./call-queue.ts";
import type { RunRequest } from "./contract.ts";
import { cancelled, queueFull, shuttingDown, unknownLambda } from "./outcomes.ts";
import type { CodeVersion, VersionSource } from "./versions.ts";
import type { WaitingRoom } from "./waiting-room.ts";

/** A version that calls can run on, and how long this one waited for it. */
export interface PreparedVersion {
  readonly version: CodeVersion;
  readonly waits: Waits;
}

/** What it needs from its lambda. */
export interface PreparationParts {
  readonly clock: Clock;
  readonly versions: VersionSource;
  /** Where its calls have their places. */
  readonly room: WaitingRoom;
  /** The lambda, as the room knows it. */
  readonly owner: object;
  /** Aborts when the worker ends. */
  readonly closing: AbortSignal;
  /** Told where the registry does not have the lambda. */
  readonly onUnknown: (error: OlError) => void;
}

/** Calls of one lambda that wait for its code or its packages. */
export class Preparation {
  readonly #parts: PreparationParts;
  #waiting = 0;

  /** @param parts versions, places */
  constructor(parts: PreparationParts) {
    this.#parts = parts;
  }

  /** Calls that wait. */
  get size(): number {
    return this.#waiting;
  }

  /**
   * Waits for code and packages, within the same bounds as the queue for an instance.
   * @param request a call
   * @returns the version in use, with its packages
   * @throws {OlError} lambda_unknown, queue_full, cancelled, draining; what registry or installer say
   */
  async wait(request: RunRequest): Promise<PreparedVersion> {
    if (request.signal.aborted) throw cancelled();
    const { versions, room, owner, closing } = this.#parts;
    // With a version that can serve, the wait for the registry is short.
    const isLong = (versions.inUse?.installed ?? null) === null;
    const ended = Promise.withResolvers<never>();
    const lose = (): void => ended.reject(queueFull());
    const place = isLong ? room.tryEnter(owner, lose) : null;
    if (isLong && place === null) throw queueFull();
    this.#waiting += 1;
    const onAbort = (): void => {
      ended.reject(closing.aborted ? shuttingDown() : cancelled());
    };
    const signals = [request.signal, closing];
    for (const signal of signals) signal.addEventListener("abort", onAbort);
    if (closing.aborted) onAbort();
    try {
      return await Promise.race([this.#prepare(request.name), ended.promise]);
    } finally {
      for (const signal of signals) signal.removeEventListener("abort", onAbort);
      this.#waiting -= 1;
      place?.leave();
    }
  }

  /** Code and packages may take long enough for a newer version to come: then that one counts. */
  async #prepare(name: string): Promise<PreparedVersion> {
    const { versions, clock, onUnknown } = this.#parts;
    let pullUs = 0;
    let installUs = 0;
    for (;;) {
      const askedUs = clock.nowUs();
      const version = await versions.current();
      pullUs += clock.nowUs() - askedUs;
      if (version === null) {
        const error = unknownLambda(name);
        onUnknown(error);
        throw error;
      }
      if (version.installed !== null) return { version, waits: { pullUs, installUs } };
      const startUs = clock.nowUs();
      // Its files are needed until it is installed, whatever becomes of it meanwhile.
      version.acquire();
      let hasPackages = true;
      try {
        hasPackages = (await version.ensurePackages()).dirs.length > 0;
      } catch (error) {
        if (versions.inUse === version) throw error;
      } finally {
        version.release();
        // A lambda without packages waits for nothing but the look at its files.
        if (hasPackages) installUs += clock.nowUs() - startUs;
        else pullUs += clock.nowUs() - startUs;
      }
      if (versions.inUse === version) return { version, waits: { pullUs, installUs } };
    }
  }
}
