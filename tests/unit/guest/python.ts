/** Python for tests that need nothing of a guest but its modules. */

import { join } from "node:path";
import { requires } from "../../helpers/requires.ts";

/** The interpreter that stands in for that of a base. */
export const PYTHON = Bun.which("python3") ?? "/usr/bin/python3";

/** `test` for what needs an interpreter. */
export const testPython = requires({ programs: ["python3"] });

const GUEST_DIR = join(import.meta.dir, "../../../src/guest");

/**
 * Runs a program that may import the guest's modules.
 * @param program its text; what it prints as JSON is the answer
 * @param input what it finds on stdin
 * @returns the value that it printed
 * @throws {Error} with what it wrote to stderr, where it printed none
 */
export async function runPython(program: string, input = ""): Promise<unknown> {
  const lines = [`import sys`, `sys.path.insert(0, ${JSON.stringify(GUEST_DIR)})`, program];
  const child = Bun.spawn([PYTHON, "-I", "-S", "-B", "-c", lines.join("\n")], {
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  try {
    return JSON.parse(stdout) as unknown;
  } catch (cause) {
    throw new Error(`Python said no JSON: ${stdout.slice(0, 200)} ${stderr}`, { cause });
  }
}
