/** The way of a probe's program into a mount namespace of its own. */

import { readlinkSync } from "node:fs";

import { CLONE_NEWNS, MS_PRIVATE, MS_REC } from "../../../src/sys/constants.ts";
import { mount } from "../../../src/sys/mount.ts";
import { unshare } from "../../../src/sys/process.ts";

/** Mount namespace of the thread that reads this link. */
export const OWN_NAMESPACE = "/proc/thread-self/ns/mnt";

/**
 * Leaves the host's mount namespace for one of which nothing gets back.
 * @throws {Error} where this is still the host's: nothing may be mounted there
 */
export function leaveHost(): void {
  const host = readlinkSync(OWN_NAMESPACE);
  unshare(CLONE_NEWNS);
  if (readlinkSync(OWN_NAMESPACE) === host) throw new Error("unshare() left it where it was");
  mount("none", "/", "", MS_REC | MS_PRIVATE);
}
