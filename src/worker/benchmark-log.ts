/** `benchmark_log`: one JSON line per call, of as many calls as fit its bound. */

import { BENCHMARK_LOG_MAX_BYTES } from "../common/limits.ts";
import { openLogFile } from "../common/log-file.ts";
import type { CallRecord } from "../server/run.ts";

/** Where finished calls are written down. */
export interface BenchmarkLog {
  readonly write: (record: CallRecord) => void;
  readonly close: () => void;
}

/**
 * @param path appended to; from its bound on, older lines are moved to `<path>.1` and `<path>.2`
 * @param maxBytes size from which on it is cut; default `BENCHMARK_LOG_MAX_BYTES`
 * @returns a log that writes in batches: a call must not wait for a disk because it is measured
 * @throws {Error} the file system's own, where the file cannot be opened
 */
export function openBenchmarkLog(path: string, maxBytes = BENCHMARK_LOG_MAX_BYTES): BenchmarkLog {
  const writer = openLogFile(path, { maxBytes });
  return {
    write: ({ lambda, requestId, outcome }) => {
      const { start, timing, usage, error } = outcome;
      const line = {
        ts: Date.now(),
        lambda,
        requestId,
        start,
        ...timing,
        ...usage,
        error: error?.code ?? null,
      };
      writer.write(`${JSON.stringify(line)}\n`, false);
    },
    close: () => writer.close(),
  };
}
