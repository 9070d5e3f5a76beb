/** What a zygote is asked to be, and what it may take while it is made. */

import {
  ZYGOTE_IMPORT_TIMEOUT_FACTOR,
  ZYGOTE_IMPORT_TIMEOUT_MIN_MS,
  ZYGOTE_IMPORT_TIMEOUT_MS,
  ZYGOTE_MEMORY_MARGIN_BYTES,
  ZYGOTE_MEMORY_MAX_BYTES,
} from "../common/zygote-limits.ts";
import type { ZygoteSpec } from "./contract.ts";
import { bottomUp } from "./costs.ts";
import type { Candidate } from "./planner.ts";

/**
 * @param id its id
 * @param candidate what was planned
 * @param leftBytes what the budget leaves, so that one whose imports take without end takes no more than
 *   there is; null: the operator wants it, so that only the general bounds hold
 * @returns what the host is asked for
 */
export function specOf(id: string, candidate: Candidate, leftBytes: number | null): ZygoteSpec {
  return {
    id,
    packages: [...candidate.packages.values()],
    imports: bottomUp(candidate.added).map(({ module }) => module),
    timeoutMs: leftBytes === null ? ZYGOTE_IMPORT_TIMEOUT_MS : timeoutMs(candidate),
    memoryMaxBytes:
      leftBytes === null
        ? ZYGOTE_MEMORY_MAX_BYTES
        : Math.min(ZYGOTE_MEMORY_MAX_BYTES, Math.max(0, leftBytes) + ZYGOTE_MEMORY_MARGIN_BYTES),
  };
}

/** By what the imports took in sandboxes: one that hangs holds one of few places. */
function timeoutMs({ importUs }: Candidate): number {
  const wantedMs = Math.ceil((importUs * ZYGOTE_IMPORT_TIMEOUT_FACTOR) / 1000);
  return Math.min(ZYGOTE_IMPORT_TIMEOUT_MS, Math.max(ZYGOTE_IMPORT_TIMEOUT_MIN_MS, wantedMs));
}
