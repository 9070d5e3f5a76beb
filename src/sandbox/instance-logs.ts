/**
 * The directory of one instance on the host, `handlers/<NAME>/<ID>/`, with what it prints. The
 * sandbox gets open descriptors, never the directory: it cannot swap a path that the worker opens.
 * Output outlives its instance, but only that of the last few instances of a lambda.
 *
 * Making a directory with two files took 2.4 ms on ext4 (Linux 6.18), renaming one 25 us. So they
 * are made ahead of need, off the thread, and those that stayed empty or became old are used again.
 */

import {
  appendFileSync,
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { errnoNameOf } from "../common/errors.ts";
import {
  CALL_INDEX_MAX_BYTES,
  INSTANCE_LOGS_KEPT,
  INSTANCE_LOGS_STOCK,
  OUTPUT_RENEW_BYTES,
} from "../common/limits.ts";
import { CALL_INDEX_FILE } from "../common/names.ts";

const STREAMS = ["stdout", "stderr"] as const;

/** Output files of one instance. */
export class InstanceLogs {
  readonly stdoutFd: number;
  readonly stderrFd: number;
  /** Directory on the host; changes with `moveTo`. */
  #dir: string;
  #closed = false;
  /** Sizes of the streams when the last call ended that printed something. */
  #notedBytes: readonly [number, number] = [0, 0];
  /** Sizes that `measure` has seen and `noteCall` has not. */
  #seenBytes: readonly [number, number] | null = null;
  /** 0: there is no index. */
  #indexBytes: number;
  #isFull = false;

  /**
   * @param dir directory with both files
   * @param stdoutFd open for appending
   * @param stderrFd open for appending
   * @param wasUsed whether an instance had it that may have left an index
   */
  constructor(dir: string, stdoutFd: number, stderrFd: number, wasUsed = false) {
    this.#indexBytes = wasUsed ? Number.POSITIVE_INFINITY : 0;
    this.#dir = dir;
    this.stdoutFd = stdoutFd;
    this.stderrFd = stderrFd;
  }

  /** Directory on the host. */
  get dir(): string {
    return this.#dir;
  }

  /** Whether output or index have come near their bounds, as far as anybody has looked. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** @returns the bytes of the longer of the two streams */
  sizeBytes(): number {
    if (this.#closed) return 0;
    return Math.max(...this.#sizes());
  }

  /**
   * Looks at both streams at the end of a call; `noteCall` then goes by what was seen.
   * @returns the bytes of the longer one
   */
  measure(): number {
    if (this.#closed) return 0;
    this.#seenBytes = this.#sizes();
    return Math.max(...this.#seenBytes);
  }

  #sizes(): [number, number] {
    const sizes: [number, number] = [fstatSync(this.stdoutFd).size, fstatSync(this.stderrFd).size];
    this.#isFull ||= Math.max(...sizes) > OUTPUT_RENEW_BYTES;
    return sizes;
  }

  /**
   * Writes down whose output the new part of the streams is, in `CALL_INDEX_FILE`: one line
   * `<bytes of stdout> <bytes of stderr> <request id>` per call that printed. The guest has no part
   * in it, so it can neither forge a line nor be slowed down; a call that prints nothing costs the
   * two looks at a size of `measure`. Does not throw: an index is not worth a call.
   * @param requestId of a call that has ended
   */
  noteCall(requestId: string): void {
    if (this.#closed || this.#indexBytes > CALL_INDEX_MAX_BYTES) return;
    try {
      const [stdoutBytes, stderrBytes] = this.#seenBytes ?? this.#sizes();
      this.#seenBytes = null;
      const [stdoutNoted, stderrNoted] = this.#notedBytes;
      if (stdoutBytes === stdoutNoted && stderrBytes === stderrNoted) return;
      this.#notedBytes = [stdoutBytes, stderrBytes];
      const line = `${stdoutBytes} ${stderrBytes} ${requestId}\n`;
      this.#indexBytes += line.length;
      appendFileSync(join(this.#dir, CALL_INDEX_FILE), line, { mode: 0o600 });
      this.#isFull ||= this.#indexBytes > CALL_INDEX_MAX_BYTES;
    } catch {
      this.#indexBytes = Number.POSITIVE_INFINITY;
    }
  }

  /** @param dir on the same file system; its parent exists */
  moveTo(dir: string): void {
    renameSync(this.#dir, dir);
    this.#dir = dir;
  }

  /** Empties everything, for another instance. */
  reset(): void {
    this.cut(0);
    if (this.#indexBytes > 0) rmSync(join(this.#dir, CALL_INDEX_FILE), { force: true });
    this.#indexBytes = 0;
    this.#notedBytes = [0, 0];
    this.#seenBytes = null;
    this.#isFull = false;
  }

  /** @param maxBytes size to which each stream is cut where it is longer */
  cut(maxBytes: number): void {
    for (const fd of [this.stdoutFd, this.stderrFd]) {
      if (fstatSync(fd).size > maxBytes) ftruncateSync(fd, maxBytes);
    }
  }

  /** Closes the descriptors; idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.stdoutFd);
    closeSync(this.stderrFd);
  }
}

/** All instances' output of one worker. */
export class InstanceLogStore {
  readonly #handlersDir: string;
  readonly #stockDir: string;
  readonly #onError: (error: unknown) => void;
  readonly #inUse = new Set<string>();
  readonly #stock: InstanceLogs[] = [];
  #making = 0;
  #made = 0;
  #closed = false;

  /**
   * @param workerDir `<cluster>/workers/worker-<N>`
   * @param onError told where stock cannot be made in the background
   */
  constructor(workerDir: string, onError: (error: unknown) => void) {
    this.#handlersDir = join(workerDir, "handlers");
    this.#stockDir = join(workerDir, "output-stock");
    this.#onError = onError;
    rmSync(this.#stockDir, { recursive: true, force: true });
    for (const dir of [this.#handlersDir, this.#stockDir]) {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
    }
    this.#refill();
  }

  /**
   * @param lambdaName a valid name
   * @param id the instance; ids sort by age
   * @returns its files, open
   * @throws {Error} the file system's own, such as ENOSPC; nothing stays behind then
   */
  open(lambdaName: string, id: string): InstanceLogs {
    const logs = this.#stock.pop() ?? this.#make();
    this.#refill();
    const parent = join(this.#handlersDir, lambdaName);
    const dir = join(parent, id);
    try {
      moveInto(logs, dir, parent);
    } catch (error) {
      this.#recycle(logs);
      throw error;
    }
    this.#inUse.add(dir);
    return logs;
  }

  /**
   * Takes an instance's files back: what it printed stays, cut to the bound; directories that nobody
   * will look at, this one if it is empty and the oldest of its lambda, are used again. Idempotent.
   * @param logs what `open` gave, with no process writing any more
   * @param maxBytes bound per stream
   */
  close(logs: InstanceLogs, maxBytes: number): void {
    if (!this.#inUse.delete(logs.dir)) return;
    if (logs.sizeBytes() === 0) {
      this.#recycle(logs);
      return;
    }
    const parent = join(logs.dir, "..");
    logs.cut(maxBytes);
    logs.close();
    this.#removeOld(parent);
  }

  /** Removes the stock; what instances printed stays. */
  shut(): void {
    this.#closed = true;
    for (const logs of this.#stock.splice(0)) logs.close();
    rmSync(this.#stockDir, { recursive: true, force: true });
  }

  #newStockDir(): string {
    this.#made += 1;
    return join(this.#stockDir, String(this.#made));
  }

  #make(): InstanceLogs {
    const dir = this.#newStockDir();
    const fds: number[] = [];
    try {
      mkdirSync(dir, { mode: 0o700 });
      for (const name of STREAMS) fds.push(openSync(join(dir, name), "a", 0o644));
      return new InstanceLogs(dir, fds[0] as number, fds[1] as number);
    } catch (error) {
      for (const fd of fds) closeSync(fd);
      rmSync(dir, { recursive: true, force: true });
      throw error;
    }
  }

  #refill(): void {
    while (!this.#closed && this.#stock.length + this.#making < INSTANCE_LOGS_STOCK / 2) {
      this.#making += 1;
      void this.#makeAhead();
    }
  }

  async #makeAhead(): Promise<void> {
    const dir = this.#newStockDir();
    try {
      await mkdir(dir, { mode: 0o700 });
      // Made off the thread, opened again on it: a FileHandle would close itself when it is collected.
      for (const name of STREAMS) await (await open(join(dir, name), "a", 0o644)).close();
      if (this.#closed) rmSync(dir, { recursive: true, force: true });
      else this.#stock.push(reopen(dir));
    } catch (error) {
      if (!this.#closed) this.#onError(error);
    } finally {
      this.#making -= 1;
    }
  }

  /** Puts files back into stock, empty, or removes them where there are enough. */
  #recycle(logs: InstanceLogs): void {
    if (this.#closed || this.#stock.length >= INSTANCE_LOGS_STOCK) {
      logs.close();
      rmSync(logs.dir, { recursive: true, force: true });
      return;
    }
    logs.moveTo(this.#newStockDir());
    logs.reset();
    this.#stock.push(logs);
  }

  #removeOld(lambdaDir: string): void {
    const ids = readdirSync(lambdaDir).toSorted();
    for (const id of ids.slice(0, Math.max(0, ids.length - INSTANCE_LOGS_KEPT))) {
      const dir = join(lambdaDir, id);
      if (!this.#inUse.has(dir)) this.#recycle(reopen(dir, true));
    }
  }
}

function reopen(dir: string, wasUsed = false): InstanceLogs {
  const stdoutFd = openSync(join(dir, "stdout"), "a", 0o644);
  try {
    const stderrFd = openSync(join(dir, "stderr"), "a", 0o644);
    return new InstanceLogs(dir, stdoutFd, stderrFd, wasUsed);
  } catch (error) {
    closeSync(stdoutFd);
    throw error;
  }
}

// The lambda's own directory exists for all but its first instance.
function moveInto(logs: InstanceLogs, dir: string, parent: string): void {
  try {
    logs.moveTo(dir);
  } catch (error) {
    if (errnoNameOf(error) !== "ENOENT") throw error;
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    logs.moveTo(dir);
  }
}
