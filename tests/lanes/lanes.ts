/** The lanes of the test runner: what each runs and how long it may take. */

/** One lane: a directory of `tests/` (or two), run by one `bun test` of its own. */
export interface Lane {
  readonly name: string;
  /** Directories below `tests/`. */
  readonly dirs: readonly string[];
  /** Milliseconds after which it is killed and counts as failed. */
  readonly timeoutMs: number;
  /** Touches the machine: needs root, the executable and Debian packages; leftovers are looked for. */
  readonly privileged: boolean;
  /** Runs only where it is named: `npm test` stays within 20 minutes. */
  readonly onlyNamed: boolean;
}

const MINUTE_MS = 60_000;

/**
 * All lanes together, in milliseconds; a lane that starts late gets what is left. A run takes some 15
 * minutes on 2 quiet cores; the first on a new machine, or one beside other work, takes longer.
 */
export const ALL_LANES_TIMEOUT_MS = 60 * MINUTE_MS;

/** How long one test may take unless it says otherwise, in milliseconds. */
export const TEST_TIMEOUT_MS = MINUTE_MS;

const lane = (name: string, minutes: number, privileged: boolean, dirs = [name]): Lane => ({
  name,
  dirs,
  timeoutMs: minutes * MINUTE_MS,
  privileged,
  onlyNamed: false,
});

/** In the order in which they run: what is cheap and likely to fail first. */
export const LANES: readonly Lane[] = [
  lane("style", 2, false, ["tidy"]),
  lane("unit", 3, false),
  lane("integration", 20, true),
  lane("e2e", 12, true),
  lane("escape", 6, true),
  lane("fault", 10, true),
  lane("vm", 15, true),
  lane("bench-smoke", 6, true),
  { ...lane("musl", 15, true), onlyNamed: true },
];
