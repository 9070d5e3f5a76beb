/**
 * The places of calls that wait, of all lambdas of a worker together (`max_queue`). A full room is fair: a call
 * takes the newest place of the lambda that holds most, if that one then still holds no fewer than its own. So a
 * lambda that floods a worker fills the room at its own cost only, and among equals the first to come stays.
 */

/** A place of one call. */
export class Place {
  readonly #holder: Holder;
  readonly #onGone: () => void;
  /** Tells its call that another one has its place now. */
  readonly lose: () => void;
  older: Place | null;
  newer: Place | null = null;
  #isHeld = true;

  /**
   * @param holder whose it is; it becomes the newest of them
   * @param lose told where another call takes it
   * @param onGone told when it is free
   */
  constructor(holder: Holder, lose: () => void, onGone: () => void) {
    this.#holder = holder;
    this.lose = lose;
    this.#onGone = onGone;
    this.older = holder.newest;
    if (this.older !== null) this.older.newer = this;
    holder.newest = this;
    holder.count += 1;
  }

  /** Its call waits no longer; idempotent. */
  leave(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (this.older !== null) this.older.newer = this.newer;
    if (this.newer !== null) this.newer.older = this.older;
    else this.#holder.newest = this.older;
    this.#holder.count -= 1;
    this.#onGone();
  }
}

/** What one lambda holds. */
interface Holder {
  count: number;
  newest: Place | null;
}

/** Bounds how many calls wait at once. */
export class WaitingRoom {
  readonly #max: number;
  readonly #holders = new Map<object, Holder>();
  #size = 0;

  /** @param max calls that may wait, of all lambdas */
  constructor(max: number) {
    this.#max = max;
  }

  /** Calls that wait. */
  get size(): number {
    return this.#size;
  }

  /**
   * @param owner the lambda
   * @param lose called where another lambda's call takes the place; it is free then
   * @returns a place, or null where the room is full and no lambda holds more than this one then would
   */
  tryEnter(owner: object, lose: () => void): Place | null {
    const own = this.#holders.get(owner) ?? { count: 0, newest: null };
    if (this.#size >= this.#max && !this.#tryFree(own.count)) return null;
    // Where it has none left, it is forgotten; where it was, it is here again.
    this.#holders.set(owner, own);
    this.#size += 1;
    return new Place(own, lose, () => {
      this.#size -= 1;
      if (own.count === 0) this.#holders.delete(owner);
    });
  }

  /** Frees the newest place of whoever holds most, of several the one that came last. */
  #tryFree(ownCount: number): boolean {
    let most: Holder | null = null;
    for (const holder of this.#holders.values()) {
      if (holder.count >= (most?.count ?? 0)) most = holder;
    }
    const place = most !== null && most.count > ownCount + 1 ? most.newest : null;
    if (place === null) return false;
    place.leave();
    place.lose();
    return true;
  }
}
