/** HTTP byte for byte, for tests that send what no well-behaved client would. */

/** A TCP client without any opinion on HTTP. */
export class RawClient {
  /** Everything received so far. */
  received = "";
  closed = false;
  #socket!: Awaited<ReturnType<typeof Bun.connect>>;
  #pending: Uint8Array = new Uint8Array(0);
  #wake: (() => void)[] = [];

  static async open(port: number): Promise<RawClient> {
    const client = new RawClient();
    const notify = (): void => client.#notify();
    client.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (_socket, chunk) => {
          client.received += chunk.toString("latin1");
          notify();
        },
        drain: () => {
          client.#flush();
          notify();
        },
        close: () => {
          client.closed = true;
          notify();
        },
        error: notify,
      },
    });
    return client;
  }

  send(data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    this.#flush();
  }

  /** Bytes given to `send` that the socket has not taken yet. */
  get unsentBytes(): number {
    return this.#pending.length;
  }

  /** @returns once the predicate holds; rejects after `timeoutMs` */
  async until(what: string, holds: (client: RawClient) => boolean, timeoutMs = 20_000) {
    const deadline = performance.now() + timeoutMs;
    while (!holds(this)) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Error(`no ${what}; received ${JSON.stringify(this.received)}`);
      const woken = new Promise<void>((resolve) => this.#wake.push(resolve));
      await Promise.race([woken, Bun.sleep(Math.min(leftMs, 1_000))]);
    }
  }

  /** Waits for the end of the connection and returns all that came. */
  async rest(timeoutMs?: number): Promise<string> {
    await this.until("end of connection", (client) => client.closed, timeoutMs);
    return this.received;
  }

  end(): void {
    this.#socket.end();
  }

  /** Resets the connection. */
  terminate(): void {
    this.#socket.terminate();
  }

  #flush(): void {
    while (this.#pending.length > 0) {
      const written = this.#socket.write(this.#pending);
      if (written <= 0) return;
      this.#pending = this.#pending.subarray(written);
    }
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }
}

/** Sends one request with `connection: close` and returns the whole answer as text. */
export async function exchange(port: number, data: string | Uint8Array): Promise<string> {
  const client = await RawClient.open(port);
  client.send(data);
  return client.rest();
}

/** A request's bytes; `connection: close` so that the answer ends. */
export function requestText(
  method: string,
  path: string,
  headers: string[] = [],
  body = "",
): string {
  const lines = [`${method} ${path} HTTP/1.1`, "Host: localhost", "Connection: close", ...headers];
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

/** @returns the status of an answer's first line, or 0 where there is none */
export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 0);
}
