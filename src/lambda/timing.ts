/** How the time of a call in its sandbox is divided: some of it is the guest's word. */

import type { CallTiming } from "./contract.ts";

/**
 * Bounds the guest's words by what was waited for it, and gives the rest of that to the guest itself.
 * @param timing of a call, with what the guest said
 * @param waitedUs from sending the call until it was over, in microseconds
 */
export function divideInside(timing: CallTiming, waitedUs: number): void {
  timing.handlerUs = Math.min(timing.handlerUs, waitedUs);
  timing.importUs = Math.min(timing.importUs, waitedUs - timing.handlerUs);
  timing.guestUs = waitedUs - timing.handlerUs - timing.importUs;
}
