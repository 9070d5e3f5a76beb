/** Background processes: this program again, detached, so that it outlives the terminal. */

import { closeSync, openSync } from "node:fs";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { type ProcessIdentity, tryIdentifyProcess } from "./process-identity.ts";

/** What `spawnBackground` starts. */
export interface BackgroundSpec {
  /** Name that `ps` shows, such as `ol`. */
  readonly argv0: string;
  /** Arguments of this program, such as `["worker-exec", "--config=/…"]`; paths absolute. */
  readonly args: readonly string[];
  /** Gets stdout and stderr, appended; mode 0600. */
  readonly logFile: string;
  /** Environment; default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A started background process, while its parent still lives. */
export interface BackgroundProcess {
  readonly identity: ProcessIdentity;
  /** Exit status once it has ended; 128 + signal where a signal ended it. */
  readonly exited: Promise<number>;
}

/** With these set, Bun runs code or becomes another program before ours starts. */
const BUN_STARTUP_VARIABLES = [
  "BUN_OPTIONS",
  "BUN_BE_BUN",
  "BUN_INSPECT",
  "BUN_INSPECT_CONNECT_TO",
  "BUN_INSPECT_PRELOAD",
  "BUN_JSC_useJIT",
  "NODE_OPTIONS",
] as const;

/**
 * @param env environment, default: this process's
 * @returns it without what would make the executable run something else at start
 */
export function cleanEnvironment(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string | undefined> {
  const clean = { ...env };
  for (const name of BUN_STARTUP_VARIABLES) delete clean[name];
  return clean;
}

/** The command that starts this program again, even after its file was replaced or removed. */
function selfCommand(): string[] {
  return Bun.isStandaloneExecutable ? ["/proc/self/exe"] : ["/proc/self/exe", Bun.main];
}

/**
 * Starts this program in a session of its own, in `/`, with nothing inherited but its log.
 * @param spec what to start
 * @returns the process; the caller need not wait for it
 * @throws {OlError} worker_start
 */
export function spawnBackground(spec: BackgroundSpec): BackgroundProcess {
  const fail = (what: string, cause?: unknown): OlError =>
    new OlError("worker_start", `Cannot start ${spec.argv0} ${spec.args[0] ?? ""}: ${what}`, {
      op: "cluster.spawn",
      cause,
    });
  let log: number;
  try {
    log = openSync(spec.logFile, "a", 0o600);
  } catch (error) {
    throw fail(`${spec.logFile} cannot be written (${errnoNameOf(error) ?? String(error)})`, error);
  }
  try {
    const child = Bun.spawn([...selfCommand(), ...spec.args], {
      argv0: spec.argv0,
      cwd: "/",
      env: cleanEnvironment(spec.env),
      detached: true,
      stdio: ["ignore", log, log],
    });
    child.unref();
    const identity = tryIdentifyProcess(child.pid);
    if (identity === null) throw fail(`it ended at once, see ${spec.logFile}`);
    return { identity, exited: child.exited };
  } catch (error) {
    if (error instanceof OlError) throw error;
    throw fail(errnoNameOf(error) ?? String(error), error);
  } finally {
    closeSync(log);
  }
}
