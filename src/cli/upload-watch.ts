/** `ol upload --watch`: uploads a directory at each change until the program is told to end. */

import { existsSync, watch } from "node:fs";
import { OlError, toOlError } from "../common/errors.ts";
import { UPLOAD_RETRY_INTERVAL_MS, WATCH_SETTLE_MS } from "../common/limits.ts";
import { treeVersion } from "../registry/tree.ts";
import { printError } from "./output.ts";

function cannotWatch(dir: string, why: string, cause?: unknown): OlError {
  return new OlError("usage", `Cannot go on watching ${dir}: ${why}`, { op: "cli.upload", cause });
}

/** Looks at a directory when told to, and uploads what is new. */
class Watched {
  readonly #dir: string;
  readonly #upload: () => Promise<void>;
  readonly #ended = Promise.withResolvers<void>();
  #uploaded: string | null = null;
  #lastFailure = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(dir: string, upload: () => Promise<void>) {
    this.#dir = dir;
    this.#upload = upload;
  }

  /** Resolves when it is stopped, rejects when there is nothing to watch any more. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** One look at a time, and once more after it: what changed meanwhile is seen by its version. */
  lookSoon(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#running = this.#running.then(() => this.#look());
    }, ms);
  }

  fail(why: string, cause?: unknown): void {
    this.#ended.reject(cannotWatch(this.#dir, why, cause));
  }

  async stop(): Promise<void> {
    this.#ended.resolve();
    clearTimeout(this.#timer);
    await this.#running;
    clearTimeout(this.#timer);
  }

  /** Mistakes are shown and waited out. */
  async #look(): Promise<void> {
    try {
      const now = treeVersion(this.#dir)?.id ?? null;
      if (now === null && !existsSync(this.#dir)) return this.fail("it is gone");
      if (now === null || now === this.#uploaded) return;
      await this.#upload();
      this.#uploaded = now;
      this.#lastFailure = "";
    } catch (error) {
      const { code, message } = toOlError(error);
      // A mistake in the code is there until the next change; a registry comes back by itself.
      if (code !== "bundle_invalid") this.lookSoon(UPLOAD_RETRY_INTERVAL_MS);
      if (message !== this.#lastFailure) printError(`${message}\n`);
      this.#lastFailure = message;
    }
  }
}

/**
 * @param dir directory of a lambda
 * @param upload sends it as it is now
 * @throws {OlError} usage where the directory goes, or can be watched no longer
 */
export async function watchAndUpload(dir: string, upload: () => Promise<void>): Promise<void> {
  const watched = new Watched(dir, upload);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void watched.stop());
  }
  const watcher = watch(dir, { recursive: true }, () => watched.lookSoon(WATCH_SETTLE_MS));
  watcher.on("error", (error) => watched.fail(error.message, error));
  try {
    watched.lookSoon(0);
    await watched.ended;
  } finally {
    watcher.close();
    await watched.stop();
  }
}
