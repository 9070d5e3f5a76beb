/** Runs a program to its end, as a shell would. */

/** Milliseconds that any single command may take. */
const COMMAND_MS = 600_000;

/** How a program ended. */
export interface CommandOutput {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * @param argv program and arguments
 * @param env variables to add to this process's own
 * @returns how it ended, whatever the exit status
 */
export async function tryCommand(
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<CommandOutput> {
  const child = Bun.spawn([...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...env },
    timeout: COMMAND_MS,
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { exitCode, stdout, stderr };
}

/**
 * @param argv program and arguments
 * @param env variables to add to this process's own
 * @returns its standard output
 * @throws {Error} when it exits with anything but 0
 */
export async function command(
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  const { exitCode, stdout, stderr } = await tryCommand(argv, env);
  if (exitCode === 0) return stdout;
  const said = `${stderr}${stdout}`.trim().slice(-2000);
  throw new Error(`Cannot run "${argv.join(" ")}": exit status ${exitCode}, it said: ${said}`);
}
