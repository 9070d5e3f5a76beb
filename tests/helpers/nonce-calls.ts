/** Calls that carry a number of their own, so that an answer to the wrong caller is noticed. */

import type { TestWorker } from "./worker.ts";

/** Returns its event after `sleep` seconds; the nonce in it comes back. */
export const NONCE_LAMBDA = [
  "import time",
  "def handler(event):",
  "    time.sleep(event.get('sleep', 0))",
  "    return event",
  "",
].join("\n");

/** What became of many calls. */
export class CallTally {
  /** Answers by status; 0: the connection broke. */
  readonly byStatus = new Map<number, number>();
  /** Texts of answers other than 200, the first few of each status. */
  readonly texts = new Map<number, string[]>();
  /** Answers that were not for the caller who got them. */
  readonly wrong: string[] = [];

  /** @returns how many calls had one of the statuses */
  count(...statuses: readonly number[]): number {
    return statuses.reduce((sum, status) => sum + (this.byStatus.get(status) ?? 0), 0);
  }

  /** Calls that are over. */
  get total(): number {
    return this.count(...this.byStatus.keys());
  }

  /** @returns statuses that are not among those expected, with what was said */
  others(...expected: readonly number[]): string[] {
    return [...this.byStatus]
      .filter(([status]) => !expected.includes(status))
      .map(([status, count]) => `${count} × ${status}: ${this.texts.get(status)?.join(" | ")}`);
  }

  /** Notes the end of one call. */
  add(status: number, text: string): void {
    this.byStatus.set(status, (this.byStatus.get(status) ?? 0) + 1);
    if (status === 200) return;
    const texts = this.texts.get(status) ?? [];
    if (texts.length < 3) texts.push(text.slice(0, 200));
    this.texts.set(status, texts);
  }
}

let nextNonce = 1;

/** How one call is to be. */
export interface NonceCall extends RequestInit {
  /** What the handler sleeps, in seconds. */
  readonly sleepSec?: number;
  /** More for the event. */
  readonly more?: Readonly<Record<string, unknown>>;
}

/**
 * Calls a lambda with `NONCE_LAMBDA`'s code and checks whose answer it is; never rejects.
 * @returns the status, 0 where the connection broke
 */
export async function nonceCall(
  worker: Pick<TestWorker, "call">,
  name: string,
  tally: CallTally,
  call: NonceCall = {},
): Promise<number> {
  const { sleepSec = 0, more = {}, ...init } = call;
  const nonce = nextNonce;
  nextNonce += 1;
  try {
    const { status, text } = await worker.call(name, { nonce, sleep: sleepSec, ...more }, init);
    if (status === 200 && (JSON.parse(text) as { nonce?: unknown }).nonce !== nonce) {
      tally.wrong.push(`${name}: wanted ${nonce}, got ${text.slice(0, 100)}`);
    }
    tally.add(status, text);
    return status;
  } catch (error) {
    tally.add(0, String(error));
    return 0;
  }
}
