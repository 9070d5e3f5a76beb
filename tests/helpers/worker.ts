/** A cluster with one worker, made and ended by a test through the compiled executable. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePorts } from "./free-port.ts";
import { expectNoLeaks, leakSnapshot } from "./leaks.ts";
import { olDone } from "./ol.ts";
import { tempDir } from "./temp-dir.ts";

/** One answer of a worker. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

/** A running worker. */
export interface TestWorker {
  readonly cluster: string;
  readonly port: number;
  /** `<cluster>/workers/worker-0`. */
  readonly dir: string;
  /** Writes or replaces a lambda in the local registry. */
  lambda(name: string, code: string, files?: Readonly<Record<string, string>>): void;
  /** POSTs an event, as JSON, to a lambda. */
  call(name: string, event?: unknown, init?: RequestInit): Promise<Answer>;
  /** The same with a body as it is. */
  post(name: string, body: string | Uint8Array, init?: RequestInit): Promise<Answer>;
  /** The worker's process id. */
  pid(): number;
  /** GET of `/stats`. */
  stats(): Promise<WorkerFigures>;
  /** What the worker logged. */
  log(): string;
  /** Ends the worker, checks that nothing of it is left, removes the cluster. */
  stop(): Promise<void>;
}

/** The part of `/stats` that tests look at. */
export interface WorkerFigures {
  readonly calls: {
    readonly inFlight: number;
    readonly queued: number;
    readonly byError: Readonly<Record<string, number>>;
  };
  readonly sandboxes: { readonly live: number; readonly paused: number; readonly busy: number };
  readonly memory: { readonly reservedBytes: number; readonly workerRssBytes: number };
  readonly lambdas: number;
}

async function answer(response: Response): Promise<Answer> {
  return { status: response.status, text: await response.text(), headers: response.headers };
}

function makeWorker(cluster: string, port: number): Omit<TestWorker, "stop"> {
  const url = (name: string): string => `http://127.0.0.1:${port}/run/${name}`;
  const post = async (
    name: string,
    body: string | Uint8Array,
    init: RequestInit = {},
  ): Promise<Answer> => await answer(await fetch(url(name), { method: "POST", body, ...init }));
  return {
    cluster,
    port,
    dir: join(cluster, "workers/worker-0"),
    lambda: (name, code, files = {}) => {
      const dir = join(cluster, "registry", name);
      mkdirSync(dir, { recursive: true });
      for (const [file, text] of Object.entries({ ...files, "lambda_func.py": code })) {
        writeFileSync(join(dir, file), text);
      }
    },
    call: (name, event = null, init = {}) => post(name, JSON.stringify(event), init),
    post,
    pid: () => Number(readFileSync(join(cluster, "logs/worker-0.pid"), "utf8")),
    stats: async () =>
      (await (await fetch(`http://127.0.0.1:${port}/stats`)).json()) as WorkerFigures,
    log: () => readFileSync(join(cluster, "logs/worker-0.out"), "utf8"),
  };
}

/** What lambdas see as `/`. */
export interface BaseChoice {
  /** As for `--base`. */
  readonly spec: string;
  /** Where the daemon of a `docker:` listens. */
  readonly dockerSocket?: string;
}

/** Makes the cluster directory. */
async function makeCluster(cluster: string, base: BaseChoice | null): Promise<void> {
  const chosen = base === null ? [] : [`--base=${base.spec}`];
  const socket = base?.dockerSocket;
  const env = socket === undefined ? {} : { DOCKER_HOST: `unix://${socket}` };
  await olDone(["new", `--cluster=${cluster}`, ...chosen], { env });
}

/**
 * @param settings for `setconf`, on top of the defaults
 * @param base null: what `ol new` takes by itself
 * @returns a cluster with one worker that is ready
 */
export async function startWorker(
  settings: Readonly<Record<string, unknown>> = {},
  base: BaseChoice | null = null,
): Promise<TestWorker> {
  const before = leakSnapshot();
  const temp = tempDir("ol-worker-");
  const cluster = temp.join("cluster");
  const port = await freePorts();
  try {
    await makeCluster(cluster, base);
    await olDone(["setconf", `--cluster=${cluster}`, JSON.stringify(settings)]);
    await olDone(["workers", `--cluster=${cluster}`, `--port=${port}`]);
  } catch (error) {
    temp.remove();
    throw error;
  }
  return {
    ...makeWorker(cluster, port),
    stop: async () => {
      try {
        await olDone(["kill", `--cluster=${cluster}`]);
        await expectNoLeaks(before, { marks: [temp.path] });
      } finally {
        temp.remove();
      }
    },
  };
}

/**
 * @param worker whose lambdas' output is wanted
 * @param name a lambda
 * @param stream `stdout` or `stderr`
 * @returns what all its instances printed, oldest first
 */
export function printed(worker: TestWorker, name: string, stream: "stdout" | "stderr"): string {
  const dir = join(worker.dir, "handlers", name);
  return readdirSync(dir)
    .toSorted()
    .map((id) => readFileSync(join(dir, id, stream), "utf8"))
    .join("");
}
