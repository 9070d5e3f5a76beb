/** The bytes of calls, and the check that an answer belongs to its call. */

import type { LoadPlan } from "./plan.ts";

/** Digits of a nonce; a fixed width, so that none is part of another. */
const NONCE_DIGITS = 12;

/** Makes requests and checks answers. */
export class RequestMaker {
  readonly #plan: LoadPlan;
  readonly #heads: readonly string[];
  readonly #prefix: string;
  readonly #expected: string;
  readonly #suffix: string;
  readonly #bodyBytes: number;

  /**
   * @param plan what to send
   * @param run distinguishes the nonces of this burst from those of any other
   */
  constructor(plan: LoadPlan, run: string) {
    this.#plan = plan;
    const extra = Object.entries(plan.extra).map(
      ([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}, `,
    );
    this.#prefix = `{${extra.join("")}"nonce": "${run}-`;
    this.#expected = `${run}-`;
    this.#suffix = plan.padBytes > 0 ? `", "pad": "${"x".repeat(plan.padBytes)}"}` : '"}';
    this.#bodyBytes = Buffer.byteLength(this.#prefix) + NONCE_DIGITS + this.#suffix.length;
    this.#heads = plan.paths.map((path) => this.#head(path));
  }

  #head(path: string): string {
    const first = `${this.#plan.method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.#plan.port}\r\n`;
    if (this.#plan.method === "GET") return `${first}\r\n`;
    return `${first}Content-Type: application/json\r\nContent-Length: ${this.#bodyBytes}\r\n\r\n`;
  }

  /**
   * @param path index of the plan's paths
   * @param sequence number of the call in its burst
   */
  request(path: number, sequence: number): Buffer {
    const head = this.#heads[path] as string;
    if (this.#plan.method === "GET") return Buffer.from(head, "latin1");
    return Buffer.from(head + this.#prefix + this.#nonce(sequence) + this.#suffix);
  }

  /**
   * @param body of an answer
   * @param sequence of the call that it should answer
   */
  belongs(body: Buffer, sequence: number): boolean {
    if (!this.#plan.nonce) return true;
    // JSON in JSON out: spacing may differ, the nonce itself may not.
    return body.includes(this.#expected + this.#nonce(sequence));
  }

  #nonce(sequence: number): string {
    return sequence.toString().padStart(NONCE_DIGITS, "0");
  }
}
