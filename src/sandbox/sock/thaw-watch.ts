/**
 * Lets paused sandboxes die with a worker that was killed. Everything of a worker dies when it does, because the
 * pid namespace of its zygote ends; but what version 1 has frozen takes no notice of SIGKILL until it is thawed.
 * So a shell waits for the end of the worker, thaws what it finds, and ends.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { CgroupRoot } from "../../cgroup/contract.ts";

/** Standard input ends with the worker, however that ends. */
const SCRIPT =
  'read -r _; for state in "$1"/*/freezer.state; do echo THAWED > "$state"; done 2>/dev/null';

/**
 * @param root the worker's cgroups
 * @returns ends the watch; the caller's sandboxes are gone by then
 */
export function watchFrozen(root: CgroupRoot): () => void {
  const dir = root.paths.find((path) => existsSync(join(path, "freezer.state")));
  // Version 2 needs none of this.
  if (dir === undefined) return () => {};
  const shell = Bun.spawn(["/bin/sh", "-c", SCRIPT, "ol-thaw", dir], {
    argv0: "ol-thaw",
    env: {},
    cwd: "/",
    stdio: ["pipe", "ignore", "ignore"],
    // In a session of its own: what is meant for the worker's group does not end it first.
    detached: true,
  });
  shell.unref();
  return () => {
    shell.kill("SIGKILL");
  };
}
