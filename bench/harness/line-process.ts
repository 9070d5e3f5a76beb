/**
 * A helper process that is asked with one line of JSON and answers with one. Helpers stay up between
 * rounds, so that starting them is never part of what is measured.
 */

import type { Subprocess } from "bun";

/** Milliseconds that a helper has to leave after its input ended. */
const CLOSE_MS = 5000;

/** One helper; one question at a time. */
export class LineProcess {
  readonly #child: Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: AsyncGenerator<string>;
  readonly #name: string;

  /**
   * @param command program and arguments
   * @param env whole environment; default is this process's own
   */
  constructor(command: readonly string[], env?: Record<string, string>) {
    this.#name = command.slice(0, 2).join(" ");
    this.#child = Bun.spawn([...command], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      env: env ?? { ...process.env },
    });
    this.#lines = readLines(this.#child.stdout);
  }

  /** Process id, for reading its memory and processor time. */
  get pid(): number {
    return this.#child.pid;
  }

  /**
   * @param question anything that JSON holds
   * @returns the answer
   * @throws {Error} when the helper ended instead
   */
  async ask(question: unknown): Promise<unknown> {
    await this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    await this.#child.stdin.flush();
    const { value, done } = await this.#lines.next();
    if (done === true) {
      throw new Error(
        `Cannot get an answer from ${this.#name}: it ended with ${await this.#child.exited}`,
      );
    }
    return JSON.parse(value) as unknown;
  }

  /** Ends its input and waits until it is gone. */
  async close(): Promise<void> {
    await this.#child.stdin.end();
    const killer = setTimeout(() => this.#child.kill("SIGKILL"), CLOSE_MS);
    await this.#child.exited;
    clearTimeout(killer);
  }
}

/** Lines of a stream; long ones are joined once, not once per chunk. */
async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  for await (const chunk of stream) {
    const pieces = decoder.decode(chunk, { stream: true }).split("\n");
    for (const [index, piece] of pieces.entries()) {
      parts.push(piece);
      if (index === pieces.length - 1) break;
      yield parts.join("");
      parts = [];
    }
  }
}
