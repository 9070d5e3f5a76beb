/** Time as a constructor argument, so that tests need not wait for it. */

/** Where a module gets its time from. */
export interface Clock {
  /** Monotonic microseconds since an arbitrary start. */
  nowUs(): number;
  /** Milliseconds since 1970, for humans and log lines only. */
  wallMs(): number;
}

/** The machine's clock. */
export const systemClock: Clock = {
  nowUs: () => performance.now() * 1000,
  wallMs: () => Date.now(),
};
