/**
 * Other processes for tests of system calls: what a call did to the kernel is best told by somebody
 * else, and some of them end or change the process that makes them.
 */

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Debian's own, where there is one: a wrapper on PATH may take longer than the tests. */
export const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

/** A process that neither ends nor says anything must not hold a lane, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** How to run one. */
export interface ChildOptions {
  /** Descriptors that it finds at 3 and up. */
  readonly fds?: readonly number[];
  /** Its whole environment; default: ours. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A process whose output is read. */
export type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

/**
 * @param argv program and arguments
 * @param options descriptors, environment
 * @returns it, running in `/`; killed where it takes too long
 */
export function startChild(argv: readonly string[], options: ChildOptions = {}): Child {
  return Bun.spawn([...argv], {
    cwd: "/",
    env: options.env ?? process.env,
    stdio: ["ignore", "pipe", "pipe", ...(options.fds ?? [])],
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
}

/**
 * @param child a running process
 * @returns what it wrote, once it has ended
 * @throws {Error} where it failed or complained
 */
export async function outputOf(child: Child): Promise<string> {
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const status = await child.exited;
  if (status === 0 && stderr === "") return stdout;
  throw new Error(`A program ended with ${status}: ${stderr}`);
}

/**
 * Runs a Python program to its end.
 * @param program its text
 * @param options descriptors, environment
 * @returns the JSON that it printed
 */
export async function python(program: string, options: ChildOptions = {}): Promise<unknown> {
  return JSON.parse(await outputOf(startChild([PYTHON, "-I", "-S", "-c", program], options)));
}

/**
 * @param url of a program of ours, from `import.meta.resolve`
 * @param args its arguments
 * @returns the command that runs it with the runtime that runs the tests
 */
export function ownProgram(url: string, ...args: readonly string[]): string[] {
  return [process.execPath, fileURLToPath(url), ...args];
}

/**
 * @param fd one of ours
 * @returns whether a program that this process becomes or starts does not get it
 */
export function isClosedOnExec(fd: number): boolean {
  const O_CLOEXEC = 0o2000000;
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"));
  return (Number.parseInt(flags?.[1] ?? "", 8) & O_CLOEXEC) !== 0;
}

/** What a process printed so far, line by line. */
export class Lines {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  /** @param child a running process */
  constructor(child: Child) {
    this.#chunks = child.stdout[Symbol.asyncIterator]();
  }

  /**
   * @returns its next line
   * @throws {Error} where it ended without one
   */
  async next(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#chunks.next();
      if (done === true) throw new Error(`A program ended after ${JSON.stringify(this.#text)}`);
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }
}
