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

/**
 * @param guest one whose stream has ended
 * @returns the reason, from the zygote's report and the kernel's count of out-of-memory kills
 */
export async function explainEnd(guest: GuestProcess): Promise<OlError> {
  const exit = await guest.exitReport();
  if (guest.outOfMemoryKills > 0 && (exit === null || exit.kind === "signalled")) {
    return new OlError(
      "sandbox_out_of_memory",
      "The lambda needed more memory than its limit (limits.mem_mb) and was ended",
      { details: guest.costs() },
    );
  }
  return exit === null ? died("The lambda's process ended") : explainExit(exit);
}
