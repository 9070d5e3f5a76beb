/** The calls of one lambda that wait for an instance, the oldest first. */

import type { OlError } from "../common/errors.ts";
import type { RunOutcome, RunRequest } from "./contract.ts";
import { cancelled, failedOutcome, queueFull } from "./outcomes.ts";
import type { Place, WaitingRoom } from "./waiting-room.ts";

/** How long a call waited for code and packages, in microseconds. */
export interface Waits {
  readonly pullUs: number;
  readonly installUs: number;
}

/** Of a call that waited for neither. */
export const NO_WAITS: Waits = { pullUs: 0, installUs: 0 };

/**
 * @param first wait of a call
 * @param second another one of the same call
 * @returns both as one
 */
export function bothWaits(first: Waits, second: Waits): Waits {
  return {
    pullUs: first.pullUs + second.pullUs,
    installUs: first.installUs + second.installUs,
  };
}

/** A call on its way to an instance. */
export interface Arrival {
  readonly request: RunRequest;
  /** When it came to this worker. */
  readonly queuedUs: number;
  readonly waits: Waits;
}

/** A call in the queue. */
interface QueuedCall extends Arrival {
  /** When it came into the queue, after the wait for code and packages. */
  readonly waitingUs: number;
  readonly place: Place;
  readonly resolve: (outcome: RunOutcome) => void;
  readonly onAbort: () => void;
}

/** What a queue needs from its lambda. */
export interface CallQueueParts {
  /** Where its calls have their places. */
  readonly room: WaitingRoom;
  /** The lambda, as the room knows it. */
  readonly owner: object;
  /** Told of each call that left. */
  readonly onLeft: () => void;
}

/** Calls in the order of their arrival; each leaves once: for an instance, refused, or hung up. */
export class CallQueue {
  readonly #parts: CallQueueParts;
  readonly #calls = new Set<QueuedCall>();

  /** @param parts the places, who hears of those that are free */
  constructor(parts: CallQueueParts) {
    this.#parts = parts;
  }

  /** Calls that wait. */
  get size(): number {
    return this.#calls.size;
  }

  /** Since when the oldest waits, in microseconds of the clock; null where none does. */
  get oldestUs(): number | null {
    for (const { waitingUs } of this.#calls) return waitingUs;
    return null;
  }

  /**
   * @param arrival a call whose client is there
   * @param nowUs time on the clock
   * @returns how it went
   */
  add(arrival: Arrival, nowUs: number): Promise<RunOutcome> {
    const { room, owner } = this.#parts;
    const place = room.tryEnter(owner, () => {
      this.#refuse(call, queueFull());
    });
    if (place === null) return Promise.resolve(failedOutcome(queueFull()));
    const { promise, resolve } = Promise.withResolvers<RunOutcome>();
    const call: QueuedCall = {
      ...arrival,
      waitingUs: nowUs,
      place,
      resolve,
      onAbort: () => {
        this.#refuse(call, cancelled());
      },
    };
    this.#calls.add(call);
    arrival.request.signal.addEventListener("abort", call.onAbort);
    return promise;
  }

  /** Takes the oldest out; null where none waits. Whoever gets it resolves it. */
  next(): QueuedCall | null {
    for (const call of this.#calls) {
      this.#remove(call);
      return call;
    }
    return null;
  }

  /**
   * Refuses the oldest, if any.
   * @param error what its caller is told
   */
  refuseNext(error: OlError): void {
    this.next()?.resolve(failedOutcome(error));
  }

  /**
   * @param sinceUs those that wait since then, or for longer, are refused
   * @param error what their callers are told
   */
  refuseOlder(sinceUs: number, error: OlError): void {
    for (const call of this.#calls) {
      if (call.waitingUs > sinceUs) return;
      this.#refuse(call, error);
    }
  }

  /** @param error what all callers are told */
  refuseAll(error: OlError): void {
    for (const call of this.#calls) this.#refuse(call, error);
  }

  #refuse(call: QueuedCall, error: OlError): void {
    if (this.#remove(call)) call.resolve(failedOutcome(error));
  }

  #remove(call: QueuedCall): boolean {
    if (!this.#calls.delete(call)) return false;
    call.request.signal.removeEventListener("abort", call.onAbort);
    call.place.leave();
    this.#parts.onLeft();
    return true;
  }
}
