/**
 * The output files of a lambda's instances on the host. A lambda must not be able to turn the reader, which runs
 * as root, against the host: nothing here follows a link or waits for a FIFO.
 */

import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import type { ClusterPaths } from "../cluster/paths.ts";
import { handlersDir } from "../cluster/paths.ts";
import { listWorkers } from "../cluster/open.ts";
import { errnoNameOf } from "../common/errors.ts";
import { LOG_CHUNK_BYTES } from "../common/limits.ts";
import { CALL_INDEX_FILE } from "../common/names.ts";

/** The two streams of an instance, in the order in which they are shown. */
export const STREAMS = ["stdout", "stderr"] as const;

/** Directory of one instance. */
export interface InstanceDir {
  /** `worker-<N>`. */
  readonly worker: string;
  readonly instance: string;
  readonly dir: string;
  /** Milliseconds since 1970. */
  readonly bornMs: number;
}

function tryReaddir(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    const name = errnoNameOf(error);
    if (name === "ENOENT" || name === "ENOTDIR") return [];
    throw error;
  }
}

function instancesIn(worker: string, lambdaDir: string): InstanceDir[] {
  return tryReaddir(lambdaDir).flatMap((instance) => {
    const dir = join(lambdaDir, instance);
    const stat = statSync(dir, { throwIfNoEntry: false });
    if (stat?.isDirectory() !== true) return [];
    return [{ worker, instance, dir, bornMs: stat.birthtimeMs || stat.ctimeMs }];
  });
}

/**
 * @param paths of a cluster
 * @param lambda its name
 * @returns the instances whose output is kept, oldest first
 */
export function listInstances(paths: ClusterPaths, lambda: string): InstanceDir[] {
  const found: InstanceDir[] = [];
  for (const worker of listWorkers(paths)) {
    for (const workerDir of [worker.dir, worker.spareDir]) {
      found.push(...instancesIn(worker.name, join(handlersDir(workerDir), lambda)));
    }
  }
  return found.toSorted((a, b) => a.bornMs - b.bornMs || (a.instance < b.instance ? -1 : 1));
}

/** Up to where the output of an instance is that of one request. */
interface CallEnd {
  readonly endBytes: Readonly<Record<string, number>>;
  readonly requestId: string;
}

/** Which request printed which part of an instance's output, as far as the worker has written it down. */
export class CallIndex {
  readonly #path: string;
  readonly #ends: CallEnd[] = [];
  #readBytes = 0;
  #rest = "";

  /** @param dir of the instance */
  constructor(dir: string) {
    this.#path = join(dir, CALL_INDEX_FILE);
  }

  /** Reads what was added. */
  update(): void {
    this.#readBytes = readFrom(this.#path, this.#readBytes, (piece) => {
      const lines = (this.#rest + Buffer.from(piece).toString("latin1")).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) {
        const [, stdout, stderr, requestId] = /^(\d{1,15}) (\d{1,15}) (\S+)$/.exec(line) ?? [];
        if (requestId === undefined) continue;
        this.#ends.push({
          endBytes: { stdout: Number(stdout), stderr: Number(stderr) },
          requestId,
        });
      }
    });
  }

  /**
   * @param stream `stdout` or `stderr`
   * @param offsetBytes where a part begins
   * @returns whose it is and where it ends; null where its call has not ended, or was not noted
   */
  find(stream: string, offsetBytes: number): { requestId: string; endBytes: number } | null {
    for (const { endBytes, requestId } of this.#ends) {
      const end = endBytes[stream] ?? 0;
      if (end > offsetBytes) return { requestId, endBytes: end };
    }
    return null;
  }
}

/**
 * @param paths of a cluster
 * @param lambda its name
 * @returns every directory in which something new can appear, whether it exists or not
 */
export function directoriesToWatch(paths: ClusterPaths, lambda: string): string[] {
  const perWorker = listWorkers(paths)
    .flatMap((worker) => [worker.dir, worker.spareDir])
    .flatMap((dir) => [dir, handlersDir(dir), join(handlersDir(dir), lambda)]);
  const instances = listInstances(paths, lambda).map((instance) => instance.dir);
  return [paths.workers, ...perWorker, ...instances];
}

/**
 * Reads what a file has beyond an offset, in pieces.
 * @param path of an output file; absent, or not a file: nothing is read
 * @param fromBytes where to begin, in bytes
 * @param take gets each piece; valid during the call only
 * @param endBytes where to stop at the latest, in bytes; default: what is there now
 * @returns where to go on next time, in bytes
 */
export function readFrom(
  path: string,
  fromBytes: number,
  take: (piece: Uint8Array) => void,
  endBytes: number = Number.POSITIVE_INFINITY,
): number {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  let descriptor: number;
  try {
    descriptor = openSync(path, flags);
  } catch (error) {
    const name = errnoNameOf(error);
    if (name === "ENOENT" || name === "ELOOP" || name === "ENXIO") return fromBytes;
    throw error;
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) return fromBytes;
    let offset = fromBytes;
    const buffer = Buffer.alloc(LOG_CHUNK_BYTES);
    // Only what is there now: a lambda that prints without end must not hold the reader here.
    const end = Math.min(stat.size, endBytes);
    while (offset < end) {
      const wanted = Math.min(buffer.length, end - offset);
      const length = readSync(descriptor, buffer, 0, wanted, offset);
      if (length === 0) break;
      take(buffer.subarray(0, length));
      offset += length;
    }
    return offset;
  } finally {
    closeSync(descriptor);
  }
}
