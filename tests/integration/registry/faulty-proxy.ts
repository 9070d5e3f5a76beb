/** A proxy in front of a store that spoils its answers by plan. */

import { createServer, type Server, type ServerResponse } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

/** What happens to one request: its answer is passed on, or what is said here. */
export type Fault = "none" | "500" | "503" | "403" | "404" | "cut" | "silent" | "damaged" | "slow";

/** A request that passed. */
export interface SeenRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Its body, as it was framed. */
  readonly chunks: readonly Uint8Array[];
}

/** Byte that is damaged: past the head of a gzip stream. */
const DAMAGED_AT = 25;

/** Listens on a port of its own until it is disposed of. */
export class FaultyProxy {
  /** All requests so far, in their order. */
  readonly seen: SeenRequest[] = [];
  /** The n-th request meets the n-th fault, the last one stays. */
  plan: Fault[];
  readonly #target: string;
  readonly #server: Server;

  private constructor(target: string, plan: Fault[]) {
    this.#target = target;
    this.plan = [...plan];
    this.#server = createServer((message, response) => {
      this.#serve(message, response).catch(() => response.destroy());
    });
  }

  /**
   * @param target address of the store
   * @param plan faults in their order
   * @returns the running proxy
   */
  static async start(target: string, plan: Fault[] = ["none"]): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target, plan);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", () => resolve()));
    return proxy;
  }

  /** Its address, to be used in place of the store's. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "/" } = message;
    const headers = message.headers as Record<string, string>;
    const chunks: Uint8Array[] = [];
    this.seen.push({ method, target: url, headers, chunks });
    const fault = this.plan.length > 1 ? this.plan.shift() : this.plan[0];
    for await (const chunk of message as AsyncIterable<Uint8Array>) chunks.push(chunk);
    if (/^\d+$/.test(fault ?? "")) {
      response.writeHead(Number(fault)).end();
      return;
    }
    if (fault === "silent") return;
    const { connection: _connection, ...passed } = headers;
    const answer = await fetch(this.#target + url, {
      method,
      headers: passed,
      decompress: false,
      ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
    });
    const body = Buffer.from(await answer.arrayBuffer());
    if (fault === "damaged" && body.length > DAMAGED_AT) body[DAMAGED_AT]! ^= 0xff;
    const out = Object.fromEntries(answer.headers);
    response.writeHead(answer.status, { ...out, "content-length": out["content-length"] ?? "0" });
    const half = body.subarray(0, body.length >> 1);
    if (fault === "cut" && body.length > 0) response.write(half, () => response.destroy());
    // The rest never comes.
    else if (fault === "slow" && body.length > 0) response.write(half);
    else response.end(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
