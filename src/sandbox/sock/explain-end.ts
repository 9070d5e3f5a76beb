/** Why a guest's stream ended although nobody asked it to. */

import { constants } from "node:os";
import { OlError } from "../../common/errors.ts";
import type { GuestProcess } from "./guest-process.ts";
import type { ChildExit } from "./zygote.ts";

const SIGNAL_NAMES = new Map<number, string>(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);

function died(text: string): OlError {
  return new OlError("sandbox_died", text);
}

function explainExit(exit: ChildExit): OlError {
  if (exit.kind === "signalled") {
    const name = SIGNAL_NAMES.get(exit.value) ?? `signal ${exit.value}`;
    return died(`The lambda's process was ended by ${name}`);
  }
  if (exit.kind === "exited") {
    return died(`The lambda's process exited with status ${exit.value}`);
  }
  if (exit.kind === "lost") {
    return died("The lambda's process ended with the zygote that it was forked from");
  }
  const message = `Cannot create a sandbox: ${exit.message}`;
  return new OlError("sandbox_create", message, { retryable: true });
}

/** Below this share of its limit, it was not the limit at which it was killed. */
const OWN_LIMIT_SHARE = 0.9;

function outOfMemory(guest: GuestProcess, memoryMaxBytes: number): OlError {
  const details = guest.costs();
  const peakBytes = details["memoryPeakBytes"] ?? memoryMaxBytes;
  const message =
    peakBytes < memoryMaxBytes * OWN_LIMIT_SHARE
      ? "The machine ran out of memory and ended the lambda, which was within its limit (limits.mem_mb)"
      : "The lambda needed more memory than its limit (limits.mem_mb) and was ended";
  return new OlError("sandbox_out_of_memory", message, { details });
}

/**
 * @param guest one whose stream has ended
 * @param memoryMaxBytes its limit
 * @returns the reason, from the zygote's report and the kernel's count of out-of-memory kills
 */
export async function explainEnd(guest: GuestProcess, memoryMaxBytes: number): Promise<OlError> {
  const exit = await guest.exitReport();
  if (guest.outOfMemoryKills > 0 && (exit === null || exit.kind === "signalled")) {
    return outOfMemory(guest, memoryMaxBytes);
  }
  return exit === null ? died("The lambda's process ended") : explainExit(exit);
}
