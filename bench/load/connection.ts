/**
 * One keep-alive connection with one call in flight. `fetch` would do for a slow server; it costs
 * about 100 us a call and allows 256 at once, which would be measured instead of the worker.
 */

import type { Socket } from "bun";

import { AnswerParser, type Answer } from "./answer-parser.ts";

/** Hears of a connection's one call. */
export interface ConnectionEvents {
  answered(connection: Connection, answer: Answer): void;
  /** The connection is of no more use. */
  failed(connection: Connection, reason: string): void;
}

/** A client's socket; `slot` belongs to the caller. */
export class Connection {
  /** Which call is in flight; the caller's to use. */
  slot = -1;
  readonly #events: ConnectionEvents;
  readonly #parser = new AnswerParser();
  #socket: Socket | null = null;
  #unsent: Buffer | null = null;
  #closed = false;

  private constructor(events: ConnectionEvents) {
    this.#events = events;
  }

  /**
   * @param port of a server on loopback
   * @param events told of answers and failures
   * @throws {Error} when nothing listens there
   */
  static async open(port: number, events: ConnectionEvents): Promise<Connection> {
    const connection = new Connection(events);
    connection.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (_, chunk) => connection.#receive(chunk),
        drain: () => connection.#flush(),
        close: () => connection.#fail("connection closed"),
        error: (_, error) => connection.#fail(`connection error: ${error.message}`),
      },
    });
    connection.#socket.setNoDelay(true);
    return connection;
  }

  /** @param request a whole request; the last one must have been answered */
  send(request: Buffer): void {
    this.#unsent = request;
    this.#flush();
  }

  /** Closes without telling anyone. */
  close(): void {
    this.#closed = true;
    this.#socket?.end();
  }

  #flush(): void {
    if (this.#unsent === null || this.#socket === null) return;
    const written = this.#socket.write(this.#unsent);
    if (written < 0) this.#fail("connection closed while sending");
    else this.#unsent = written < this.#unsent.length ? this.#unsent.subarray(written) : null;
  }

  #receive(chunk: Buffer): void {
    let answer: Answer | null;
    try {
      answer = this.#parser.feed(chunk);
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
      return;
    }
    if (answer !== null) this.#events.answered(this, answer);
  }

  #fail(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket?.end();
    this.#events.failed(this, reason);
  }
}
