/** The suite's handle on the reference HTTP servers. */

import type { Subprocess } from "bun";

/** A server that answers at once. */
export class HttpProcess {
  readonly port: number;
  readonly #child: Subprocess<"pipe", "pipe", "inherit">;

  private constructor(child: Subprocess<"pipe", "pipe", "inherit">, port: number) {
    this.#child = child;
    this.port = port;
  }

  /**
   * @param kind which library answers
   * @throws {Error} when it does not come up
   */
  static async start(kind: "bun" | "elysia"): Promise<HttpProcess> {
    const script = new URL("http-server.ts", import.meta.url).pathname;
    const child = Bun.spawn([process.execPath, script, kind], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      env: { ...process.env, NODE_ENV: "production" },
    });
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    const port = Number(new TextDecoder().decode(value));
    if (!(port > 0)) throw new Error(`Cannot start the ${kind} reference server: it gave no port`);
    return new HttpProcess(child, port);
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.#child.stdin.end();
    await this.#child.exited;
  }
}
