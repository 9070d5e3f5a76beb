/** Runs one command of a lane in a process group of its own, in bounded time, streaming its output. */

/** How the command ended and what it wrote. */
export interface GroupResult {
  /** Null where a signal ended it. */
  readonly exitCode: number | null;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** What to run. */
export interface GroupCommand {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds until the whole group is killed. */
  readonly timeoutMs: number;
  /** Keeps its output without showing it. */
  readonly quiet?: boolean;
}

/** After SIGTERM, before SIGKILL: time for tests to take down what they started. */
const TERMINATE_GRACE_MS = 5_000;

/** Once the command ended, time for its last output to arrive: a stray child may hold the pipe open. */
const DRAIN_MS = 1_000;

/** Groups that run now, so that an interrupted runner takes them along. */
const running = new Set<number>();

/** Signals a whole group; it may be gone already. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Nothing is left to signal.
  }
}

/** Kills every group that still runs; for the runner's own signal handlers. */
export function killGroups(): void {
  for (const pid of running) signalGroup(pid, "SIGKILL");
}

/** Keeps what a stream brings, and shows it while it comes unless told to be quiet. */
async function tee(
  stream: ReadableStream<Uint8Array>,
  parts: string[],
  quiet: boolean,
): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const text = decoder.decode(chunk, { stream: true });
    parts.push(text);
    if (!quiet) process.stdout.write(text);
  }
}

/**
 * @param command what to run, where, for how long
 * @returns how it ended; a command that fails or takes too long is not an error here
 */
export async function runGroup(command: GroupCommand): Promise<GroupResult> {
  const quiet = command.quiet ?? false;
  const child = Bun.spawn([...command.argv], {
    cwd: command.cwd,
    env: { ...process.env, ...command.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    // A session and group of its own: one signal reaches everything that did not leave on purpose.
    detached: true,
  });
  running.add(child.pid);
  const [stdout, stderr]: [string[], string[]] = [[], []];
  const drained = Promise.all([tee(child.stdout, stdout, quiet), tee(child.stderr, stderr, quiet)]);
  let timedOut = false;
  const terminate = setTimeout(() => {
    timedOut = true;
    signalGroup(child.pid, "SIGTERM");
  }, command.timeoutMs);
  const kill = setTimeout(
    () => signalGroup(child.pid, "SIGKILL"),
    command.timeoutMs + TERMINATE_GRACE_MS,
  );
  await child.exited;
  clearTimeout(terminate);
  clearTimeout(kill);
  await Promise.race([drained, Bun.sleep(DRAIN_MS)]);
  signalGroup(child.pid, "SIGKILL");
  running.delete(child.pid);
  return {
    exitCode: child.exitCode,
    timedOut,
    stdout: stdout.join(""),
    stderr: stderr.join(""),
  };
}
