/** A server over a real lambda service in memory, for the server's tests. */

import { type ErrorCode, OlError } from "../../../src/common/errors.ts";
import { type Logger, silentLogger } from "../../../src/common/log.ts";
import { LatencyHistogram } from "../../../src/common/histogram.ts";
import {
  NO_TIMING,
  type LambdaService,
  type RunOutcome,
  type RunRequest,
  type StartKind,
  type WorkerStats,
} from "../../../src/lambda/contract.ts";
import { type RunningServer, type ServerOptions, startServer } from "../../../src/server/server.ts";

/** What a lambda of the memory service does with its event. */
export type Handler = (event: unknown, request: RunRequest) => unknown;

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();
const TIMING = {
  ...NO_TIMING,
  queueUs: 5,
  sandboxUs: 1_250,
  handlerUs: 12_345,
  guestUs: 400,
  totalUs: 14_010,
};

/** Runs handlers of this process, with the errors and the order of a real lambda layer. */
export class MemoryService implements LambdaService {
  readonly lambdas = new Map<string, Handler>();
  readonly requests: RunRequest[] = [];
  readonly total = new LatencyHistogram();
  readonly byError: Record<string, number> = {};
  readonly byStart: Record<StartKind, number> = { warm: 0, unpaused: 0, zygote: 0, fresh: 0 };
  draining = false;
  refusals = 0;
  start: StartKind | null = "warm";

  async run(request: RunRequest): Promise<RunOutcome> {
    this.requests.push(request);
    const startedUs = performance.now() * 1000;
    try {
      const handler = this.lambdas.get(request.name);
      if (handler === undefined) {
        throw new OlError("lambda_unknown", `Cannot find the lambda "${request.name}"`);
      }
      const value = await handler(parse(request.body), request);
      if (this.start !== null) this.byStart[this.start] += 1;
      const body = encoder.encode(JSON.stringify(value));
      return { start: this.start, timing: TIMING, body, error: null };
    } catch (thrown) {
      const error =
        thrown instanceof OlError ? thrown : new OlError("lambda_exception", String(thrown));
      this.byError[error.code] = (this.byError[error.code] ?? 0) + 1;
      return { start: null, timing: TIMING, body: null, error };
    } finally {
      this.total.record(performance.now() * 1000 - startedUs);
    }
  }

  refused(code: ErrorCode): void {
    this.refusals += 1;
    this.byError[code] = (this.byError[code] ?? 0) + 1;
  }

  stats(): WorkerStats {
    const stage = this.total.summary();
    const none = { count: 0, p50: 0, p90: 0, p99: 0 };
    return {
      uptimeMs: 12_000,
      calls: {
        total: this.requests.length + this.refusals,
        inFlight: 0,
        queued: 0,
        byStart: this.byStart,
        byError: this.byError,
      },
      stages: {
        total: stage,
        queue: none,
        pull: none,
        install: none,
        sandbox: none,
        import: none,
        handler: none,
        guest: none,
      },
      caches: {
        handler: { hits: 7, misses: 3, evictions: 1 },
        import: { hits: 2, misses: 1, evictions: 0 },
        install: { hits: 4, misses: 2, failures: 1 },
      },
      sandboxes: { live: 3, paused: 2, busy: 1, outOfMemoryKills: 2, cpuUs: 5, throttledUs: 4 },
      memory: {
        poolBytes: 1_000_000,
        reservedBytes: 250_000,
        zygoteBytes: 4096,
        workerRssBytes: 50_000,
      },
      lambdas: this.lambdas.size,
      zygotes: [
        {
          id: "z1",
          parent: null,
          imports: ["numpy"],
          packages: ["numpy-2.1.3-0123456789abcdef0123"],
          hits: 2,
          memoryBytes: 4096,
          importUs: 65_000,
          children: 0,
          liveSandboxes: 1,
        },
      ],
    };
  }
}

function parse(body: Uint8Array): unknown {
  if (body.length === 0) return null;
  try {
    return JSON.parse(decoder.decode(body));
  } catch (error) {
    throw new OlError("bad_request", `bad POST data: ${(error as Error).message}`);
  }
}

/** A server with its service, on a port of its own. */
export interface Harness extends RunningServer {
  readonly service: MemoryService;
  readonly url: string;
}

/** Body limit of the harness in bytes. */
export const BODY_MAX_BYTES = 64 * 1024;

/** @returns a listening server over a memory service with the lambda `echo` */
export async function startHarness(
  options: Partial<ServerOptions["config"]> = {},
  log: Logger = silentLogger,
): Promise<Harness> {
  const service = new MemoryService();
  service.lambdas.set("echo", (event) => event);
  const config = {
    bind: "127.0.0.1",
    workerPort: 0,
    bodyMaxBytes: BODY_MAX_BYTES,
    timing: false,
    ...options,
  };
  const server = await startServer({ config, service, log });
  return { ...server, service, url: `http://127.0.0.1:${server.port}` };
}
