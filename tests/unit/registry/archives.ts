/** Builds tar archives byte by byte, so that tests can make those that no honest program would. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const BLOCK = 512;

/** One entry, with every field free to lie. */
export interface RawEntry {
  readonly path: string | Uint8Array;
  readonly body?: string | Uint8Array;
  /** `0` file, `1` hard link, `2` symbolic link, `3` char device, `5` directory, `6` FIFO, `x` pax. */
  readonly type?: string;
  readonly mode?: number;
  readonly linkpath?: string;
  /** Announced size; default: the body's. */
  readonly size?: number;
  readonly badChecksum?: boolean;
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, "0")}\0`;
}

/**
 * @param entry what to encode
 * @returns header and padded body
 */
export function rawEntry(entry: RawEntry): Uint8Array {
  const body = Buffer.from((entry.body ?? "") as string);
  const header = Buffer.alloc(BLOCK);
  Buffer.from(entry.path as string).copy(header, 0, 0, 100);
  header.write(octal(entry.mode ?? 0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(entry.size ?? body.length, 12), 124);
  header.write(octal(0, 12), 136);
  header.write("        ", 148);
  header.write(entry.type ?? "0", 156);
  header.write(entry.linkpath ?? "", 157);
  header.write("ustar\0", 257);
  header.write("00", 263);
  let sum = entry.badChecksum === true ? 1 : 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const padding = Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK);
  return Buffer.concat([header, body, padding]);
}

/**
 * @param records of a pax header, such as `{path: "a/../b"}`
 * @param type `x` for the next entry, `g` for all
 * @returns the header entry
 */
export function paxEntry(records: Readonly<Record<string, string>>, type = "x"): Uint8Array {
  let body = "";
  for (const [key, value] of Object.entries(records)) {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest) + 1;
    while (String(length).length + Buffer.byteLength(rest) !== length) length++;
    body += `${length}${rest}`;
  }
  return rawEntry({ path: "PaxHeader", body, type });
}

/** The two zero blocks that end an archive. */
const END = new Uint8Array(2 * BLOCK);

/** A handler that is in order. */
export const HANDLER: RawEntry = {
  path: "lambda_func.py",
  body: "def handler(event):\n    return event\n",
};

/**
 * @param parts entries, or blocks as they are
 * @returns the archive, not compressed
 */
export function tarOf(...parts: (RawEntry | Uint8Array)[]): Uint8Array {
  return Buffer.concat([
    ...parts.map((part) => (part instanceof Uint8Array ? part : rawEntry(part))),
    END,
  ]);
}

/**
 * @param parts entries, or blocks as they are
 * @returns the archive, compressed
 */
export function bundleOf(...parts: (RawEntry | Uint8Array)[]): Uint8Array {
  return gzipSync(tarOf(...parts));
}

/** A directory of its own for one test, gone afterwards. */
export class TempDir {
  readonly path = mkdtempSync(join(tmpdir(), "ol-registry-test-"));

  /** Removes it with all that is in it. */
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
