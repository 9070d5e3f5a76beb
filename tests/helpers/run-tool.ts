/** Programs that make what tests need: they succeed, or the test stops with their words. */

/** Long enough for a compilation on a machine that others use too. */
const STEP_TIMEOUT_MS = 900_000;

/**
 * Runs a tool to its end.
 * @param argv program and arguments; those of administrators are found as well
 * @param cwd where
 * @param env added to the environment
 * @returns what it printed
 * @throws {Error} with the end of its output, when it fails
 */
export function runTool(
  argv: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): string {
  const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
  const result = Bun.spawnSync([...argv], {
    cwd,
    env: { ...process.env, PATH, LC_ALL: "C", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: STEP_TIMEOUT_MS,
  });
  const output = `${result.stdout.toString()}${result.stderr.toString()}`;
  if (result.exitCode === 0) return result.stdout.toString();
  throw new Error(`Cannot run ${argv.join(" ")}: ${output.slice(-2_000)}`);
}
