/** Runs the compiled executable the way a shell would, and says how it ended. */

import { existsSync } from "node:fs";

import { ADMIN_PATH, OL_PATH } from "./paths.ts";
import { scaled } from "./wait-for.ts";

export { freePorts } from "./free-port.ts";

/** Path of the executable under its first name. */
export const OL = OL_PATH;

/** Path of the executable under its second name. */
export const ADMIN = ADMIN_PATH;

/** How a run is to be. */
export interface RunOptions {
  /** Executable to run instead of `bin/ol`, such as `ADMIN`. */
  readonly program?: string;
  /** Default `/`: nothing may depend on where it is run. */
  readonly cwd?: string;
  /** Added to the environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly stdin?: string;
  /** Milliseconds until it is killed with SIGKILL, default 60 s; longer on an emulated machine. */
  readonly timeoutMs?: number;
}

/** How it went. */
export interface RunResult {
  /** Null where a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const DEFAULT_TIMEOUT_MS = 60_000;

/** What the test runner sets and a user's shell has not: it changes log levels and colours. */
const NOT_A_USERS = { NODE_ENV: undefined, CI: undefined, OL_CLUSTER: undefined };

/**
 * Runs the executable to its end.
 * @param args its arguments
 * @param options default: `bin/ol`, our environment but for what only tests have, no stdin
 * @returns exit status and output; a command that fails is not an error here
 * @throws {Error} when the executable was not built
 */
export async function ol(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const program = options.program ?? OL;
  if (!existsSync(program)) throw new Error(`${program} is missing, run "npm run build" first`);
  const child = Bun.spawn([program, ...args], {
    cwd: options.cwd ?? "/",
    env: { ...process.env, ...NOT_A_USERS, ...options.env },
    stdin: options.stdin === undefined ? "ignore" : new TextEncoder().encode(options.stdin),
    stdout: "pipe",
    stderr: "pipe",
    timeout: scaled(options.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    killSignal: "SIGKILL",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { exitCode: child.exitCode, stdout, stderr };
}

/**
 * Runs the executable and wants it to succeed.
 * @param args its arguments
 * @param options as for `ol`
 * @returns its stdout
 * @throws {Error} with its status and what it wrote, when it does not exit with 0
 */
export async function olDone(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await ol(args, options);
  if (exitCode === 0) return stdout;
  throw new Error(
    `ol ${args.join(" ")} ended with ${exitCode ?? "a signal"}, wanted 0\n${stdout}${stderr}`,
  );
}
