/**
 * The worst moment for memory whose address C was given: a collection after the address was taken
 * and before the call is made.
 */

import { setFaultPlan } from "../../../src/sys/libc.ts";

/** Small buffers of their own, which take the place of those that were collected. */
const OVERWRITERS = 2_000;

/** Has memory collected and used again just before each system call, until `setFaultPlan(null)`. */
export function collectBeforeCalls(): void {
  const kept: Uint8Array[] = [];
  setFaultPlan(() => {
    Bun.gc(true);
    for (let index = 0; index < OVERWRITERS; index += 1) {
      kept[index] = new Uint8Array(new ArrayBuffer(1 + (index % 64))).fill(0xff);
    }
    return null;
  });
}
