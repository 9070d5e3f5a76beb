/**
 * Just enough HTTP/1.1 to read answers fast: content-length and chunked bodies on a connection that
 * stays open. Anything else is an error, which fails the burst rather than being guessed at.
 */

/** One answer. */
export interface Answer {
  readonly status: number;
  /** Status line and header lines as they came. */
  readonly head: string;
  readonly body: Buffer;
}

const HEAD_END = Buffer.from("\r\n\r\n");
const LENGTH = /\r\ncontent-length: *(\d+)/i;
const CHUNKED = /\r\ntransfer-encoding: *chunked/i;
const NO_BODY: ReadonlySet<number> = new Set([204, 304]);

/**
 * @param head status line and headers
 * @param name header to look for, lower case
 * @returns its value, or ""
 */
export function headerOf(head: string, name: string): string {
  const start = head.toLowerCase().indexOf(`\r\n${name}:`);
  if (start < 0) return "";
  const from = start + name.length + 3;
  const end = head.indexOf("\r\n", from);
  return head.slice(from, end < 0 ? head.length : end).trim();
}

/**
 * Stages of a call.
 * @param value such as `queue;dur=0.1, handler;dur=3`
 * @returns microseconds by stage
 * @see https://www.w3.org/TR/server-timing/ (durations are milliseconds)
 */
export function serverTimingUs(value: string): Record<string, number> {
  const stages: Record<string, number> = {};
  for (const part of value.split(",")) {
    const match = /^\s*([\w-]+).*?;\s*dur=([\d.]+)/.exec(part);
    if (match !== null) stages[match[1] as string] = Number(match[2]) * 1000;
  }
  return stages;
}

/** Body of a chunked answer, or null while it is incomplete. */
function chunkedBody(bytes: Buffer, from: number): { body: Buffer; end: number } | null {
  const parts: Buffer[] = [];
  let offset = from;
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", offset);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(bytes.toString("latin1", offset, lineEnd), 16);
    if (Number.isNaN(size)) throw new Error("Cannot read an answer: its chunk has no size");
    const next = lineEnd + 2 + size + 2;
    if (bytes.length < next) return null;
    if (size === 0) return { body: Buffer.concat(parts), end: next };
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    offset = next;
  }
}

/** Cuts a connection's bytes into answers. */
export class AnswerParser {
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** Bytes that must be there before another try is worth it: keeps large bodies linear. */
  #neededBytes = 0;

  /**
   * @param chunk what just arrived
   * @returns the answer that it completes, or null; there is never more than one in flight
   * @throws {Error} when it is not an answer of this dialect
   */
  feed(chunk: Buffer): Answer | null {
    this.#pendingBytes += chunk.length;
    this.#pending.push(chunk);
    if (this.#pendingBytes < this.#neededBytes) return null;
    const bytes = this.#pending.length === 1 ? chunk : Buffer.concat(this.#pending);
    this.#pending = [bytes];
    const headEnd = bytes.indexOf(HEAD_END);
    if (headEnd < 0) return null;
    const head = bytes.toString("latin1", 0, headEnd);
    const status = Number(head.slice(9, 12));
    const start = headEnd + HEAD_END.length;
    const length = LENGTH.exec(head);
    if (length !== null) {
      const end = start + Number(length[1]);
      this.#neededBytes = end;
      return bytes.length < end ? null : this.#finish(bytes, end, { status, head, start });
    }
    if (CHUNKED.test(head)) {
      const chunked = chunkedBody(bytes, start);
      if (chunked === null) return null;
      this.#reset(bytes, chunked.end);
      return { status, head, body: chunked.body };
    }
    if (NO_BODY.has(status)) return this.#finish(bytes, start, { status, head, start });
    throw new Error("Cannot read an answer: it has neither a content-length nor chunks");
  }

  #finish(
    bytes: Buffer,
    end: number,
    answer: { status: number; head: string; start: number },
  ): Answer {
    this.#reset(bytes, end);
    return { status: answer.status, head: answer.head, body: bytes.subarray(answer.start, end) };
  }

  #reset(bytes: Buffer, end: number): void {
    if (bytes.length !== end) {
      throw new Error(
        `Cannot read an answer: ${bytes.length - end} bytes follow that nobody asked for`,
      );
    }
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#neededBytes = 0;
  }
}
