/**
 * The only way to the terminal. Results go to stdout, everything for people's eyes to stderr, so that a
 * pipe gets results only. Writes are synchronous: what was printed is out when the program exits.
 */

import { writeSync } from "node:fs";
import { errnoNameOf } from "../common/errors.ts";

const STDOUT = 1;
const STDERR = 2;

/** Exit status of a program whose reader went away: 128 + SIGPIPE, as a shell says it. */
const EXIT_READER_GONE = 141;

/** Pause before a full non-blocking pipe is tried again, in milliseconds. */
const FULL_PIPE_PAUSE_MS = 1;

const pause = new Int32Array(new SharedArrayBuffer(4));

function writeAll(descriptor: number, bytes: Uint8Array): void {
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += writeSync(descriptor, bytes, offset);
    } catch (error) {
      const name = errnoNameOf(error);
      if (name === "EPIPE") process.exit(EXIT_READER_GONE);
      if (name !== "EAGAIN") throw error;
      Atomics.wait(pause, 0, 0, FULL_PIPE_PAUSE_MS);
    }
  }
}

/** @param text goes to stdout as it is; give a newline where one is wanted */
export function print(text: string | Uint8Array): void {
  writeAll(STDOUT, typeof text === "string" ? new TextEncoder().encode(text) : text);
}

/** @param value goes to stdout as one line of JSON */
export function printJson(value: unknown): void {
  print(`${JSON.stringify(value)}\n`);
}

/** @param text goes to stderr as it is */
export function printError(text: string): void {
  writeAll(STDERR, new TextEncoder().encode(text));
}

/** Says something to the person at the terminal: progress, warnings, hints. */
export interface Notes {
  /** @param text one line, without its newline */
  note(text: string): void;
  /** @param text one line, without its newline */
  warn(text: string): void;
}

/** @returns notes with consola's looks on a terminal, as plain lines elsewhere; always on stderr */
export async function openNotes(): Promise<Notes> {
  if (!process.stderr.isTTY) {
    return {
      note: (text) => printError(`${text}\n`),
      warn: (text) => printError(`Warning: ${text}\n`),
    };
  }
  const { createConsola } = await import("consola");
  const consola = createConsola({
    stdout: process.stderr,
    stderr: process.stderr,
    throttleMin: Infinity,
  });
  return { note: (text) => consola.info(text), warn: (text) => consola.warn(text) };
}
