/**
 * The end of the log that touches a descriptor: batches lines, survives a full pipe, a full disk and
 * a reader that went away, and never lets memory grow without bound.
 */

import { writeSync } from "node:fs";
import { errnoNameOf } from "./errors.ts";
import { LOG_BATCH_BYTES, LOG_BUFFER_MAX_BYTES, LOG_FLUSH_INTERVAL_MS } from "./limits.ts";
import type { LogSink } from "./log.ts";

/** What `createLogWriter` may be told. */
export interface LogWriterOptions {
  /** Descriptor written to; default 1, standard output. Stays open. */
  readonly fd?: number;
  /** Writes some bytes and returns how many; tests give their own. */
  readonly write?: (fd: number, bytes: Uint8Array) => number;
  /** Called after bytes were written, between two lines; must not throw. */
  readonly afterWrite?: () => void;
}

/** A sink over a descriptor. */
export interface LogWriter extends LogSink {
  /** Writes what can be written now. */
  flush(): void;
  /** Flushes and stops the timer; later lines are written at once. Idempotent. */
  close(): void;
  /** Lines given up because the descriptor did not take them. */
  readonly droppedLines: number;
}

/**
 * @param options descriptor
 * @returns a sink that writes within `LOG_FLUSH_INTERVAL_MS`, on urgent lines, and at process exit
 */
export function createLogWriter(options: LogWriterOptions = {}): LogWriter {
  return new BatchWriter(options);
}

const encoder = new TextEncoder();

class BatchWriter implements LogWriter {
  readonly #fd: number;
  readonly #write: (fd: number, bytes: Uint8Array) => number;
  readonly #afterWrite: (() => void) | undefined;
  #lines: string[] = [];
  /** UTF-16 length of `#lines`: near enough to bytes to decide when to flush. */
  #size = 0;
  /** Rest of a batch that the descriptor has taken in part. */
  #rest: Uint8Array | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #closed = false;
  droppedLines = 0;
  /** Part of `droppedLines` that no line of the log has told yet. */
  #untold = 0;
  readonly #onExit = (): void => this.flush();

  constructor({ fd = 1, write = writeSync, afterWrite }: LogWriterOptions) {
    this.#fd = fd;
    this.#write = write;
    this.#afterWrite = afterWrite;
    process.on("exit", this.#onExit);
  }

  write(line: string, urgent: boolean): void {
    if (this.#size + (this.#rest?.length ?? 0) > LOG_BUFFER_MAX_BYTES) {
      this.#drop(1);
      return;
    }
    this.#lines.push(line);
    this.#size += line.length;
    if (urgent || this.#closed || this.#size >= LOG_BATCH_BYTES) this.flush();
    else this.#arm();
  }

  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (;;) {
      const batch = this.#rest ?? this.#takeBatch();
      if (batch === null) return;
      try {
        const written = this.#write(this.#fd, batch);
        this.#rest = written < batch.length ? batch.subarray(written) : null;
        if (this.#rest === null) this.#afterWrite?.();
      } catch (error) {
        if (errnoNameOf(error) === "EAGAIN") {
          this.#rest = batch;
          if (!this.#closed) this.#arm();
          return;
        }
        // ENOSPC, EPIPE, EIO: nobody can be told now; the next batch that is written says so.
        this.#drop(countLines(batch));
        this.#rest = null;
      }
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    process.off("exit", this.#onExit);
    this.flush();
  }

  #takeBatch(): Uint8Array | null {
    if (this.#lines.length === 0) return null;
    let text = this.#lines.join("");
    if (this.#untold > 0) {
      const ts = new Date().toISOString();
      const note = { ts, level: "warn", msg: "Log lines were lost", dropped: this.#untold };
      text = `${JSON.stringify(note)}\n${text}`;
      this.#untold = 0;
    }
    this.#lines = [];
    this.#size = 0;
    return encoder.encode(text);
  }

  #drop(lines: number): void {
    this.droppedLines += lines;
    this.#untold += lines;
  }

  #arm(): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.flush();
    }, LOG_FLUSH_INTERVAL_MS);
    // A pending batch must not keep a worker alive: the exit hook writes it.
    this.#timer.unref();
  }
}

function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (const byte of bytes) if (byte === 10) lines += 1;
  return Math.max(lines, 1);
}
