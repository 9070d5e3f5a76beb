/**
 * A log file that cannot fill the disk. Its content is copied away and the file cut to nothing,
 * rather than renamed: other processes (zygotes, a predecessor that drains) have the same file open
 * for appending, and would go on writing to a renamed one for ever, where nobody bounds it.
 *
 * | file | holds |
 * | --- | --- |
 * | `<path>` | the newest lines |
 * | `<path>.1` … | older ones, the oldest with the highest number |
 */

import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import {
  LOG_CHUNK_BYTES,
  LOG_COPY_ROUNDS_MAX,
  LOG_FILE_MAX_BYTES,
  LOG_FILES_KEPT,
  LOG_SIZE_WATCH_INTERVAL_MS,
} from "./limits.ts";
import { createLogWriter, type LogWriter } from "./log-writer.ts";

/** What `openLogFile` may be told. */
export interface LogFileOptions {
  /** Size from which on the file is cut, in bytes; default `LOG_FILE_MAX_BYTES`. */
  readonly maxBytes?: number;
  /** Called each time after content was copied away; tests write there what others may. */
  readonly afterCopy?: () => void;
}

/**
 * Opens a log for appending and keeps it bounded: it and its `LOG_FILES_KEPT` predecessors.
 * @param path of the file; made, mode 0600, where it is missing
 * @param options bound
 * @returns a writer that also closes the file when it is closed
 * @throws {Error} the file system's own, where the file cannot be opened
 */
export function openLogFile(path: string, options: LogFileOptions = {}): LogWriter {
  const maxBytes = options.maxBytes ?? LOG_FILE_MAX_BYTES;
  const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
  const fd = openSync(path, flags, 0o600);
  const check = (): void => {
    if (fstatSync(fd).size >= maxBytes)
      cutLog(fd, path, { maxBytes, afterCopy: options.afterCopy });
  };
  const writer = createLogWriter({ fd, afterWrite: check });
  // What others write to the same file is bounded as well.
  const watch = setInterval(check, LOG_SIZE_WATCH_INTERVAL_MS);
  watch.unref();
  let isOpen = true;
  return {
    write: (line, urgent) => writer.write(line, urgent),
    flush: () => writer.flush(),
    get droppedLines() {
      return writer.droppedLines;
    },
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      clearInterval(watch);
      writer.close();
      closeSync(fd);
    },
  };
}

interface Cut {
  readonly maxBytes: number;
  readonly afterCopy: (() => void) | undefined;
}

/** Moves the end of the content to `<path>.1`; where that fails, the file itself is cut all the same. */
function cutLog(fd: number, path: string, cut: Cut): void {
  try {
    rmSync(`${path}.${LOG_FILES_KEPT}`, { recursive: true, force: true });
    for (let number = LOG_FILES_KEPT - 1; number >= 1; number--) {
      renameIfThere(`${path}.${number}`, `${path}.${number + 1}`);
    }
    moveEnd(fd, `${path}.1`, cut);
  } catch {
    // A full disk, most likely: then old lines are what has to go.
    ftruncateSync(fd, 0);
    rmSync(`${path}.1`, { recursive: true, force: true });
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ENOENT") throw error;
  }
}

/**
 * Others append to the file while it is copied. What they add is copied as well, until nothing is left
 * to copy: what may be lost is what comes between two system calls that follow each other.
 */
function moveEnd(fd: number, to: string, { maxBytes, afterCopy }: Cut): void {
  const copy = openSync(to, "wx", 0o600);
  try {
    const buffer = Buffer.allocUnsafe(LOG_CHUNK_BYTES);
    let { size } = fstatSync(fd);
    let offset = Math.max(0, size - maxBytes - LOG_CHUNK_BYTES);
    for (let round = 0; offset < size && round < LOG_COPY_ROUNDS_MAX; round++) {
      while (offset < size) {
        const length = readSync(fd, buffer, 0, Math.min(buffer.length, size - offset), offset);
        if (length === 0) break;
        for (let done = 0; done < length;) done += writeSync(copy, buffer, done, length - done);
        offset += length;
      }
      afterCopy?.();
      ({ size } = fstatSync(fd));
    }
    ftruncateSync(fd, 0);
  } finally {
    closeSync(copy);
  }
}
