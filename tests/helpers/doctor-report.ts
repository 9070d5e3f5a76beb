/** What `ol doctor --json` prints. */

/** One thing that it looked at. */
export interface Finding {
  readonly id: string;
  readonly status: string;
  readonly found: string;
  readonly disables: string | null;
  readonly mend: string | null;
}

/** All of them, and whether sandboxes are possible here. */
export interface Report {
  readonly usable: boolean;
  readonly findings: readonly Finding[];
}
