/**
 * A cluster of the executable under test, driven as a user would: its commands and its HTTP port,
 * nothing of its insides.
 */

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

import { command, tryCommand } from "./command.ts";

/** Keys of the worker's configuration file, as in its reference page. */
export type ConfigOverrides = Readonly<Record<string, unknown>>;

/** How a cluster is to be. */
export interface ClusterOptions {
  readonly config?: ConfigOverrides;
  /** Lambdas to create before the worker starts: files by lambda name. */
  readonly lambdas?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** A running worker. */
export class Cluster {
  readonly dir: string;
  readonly port: number;
  readonly #ol: string;
  #stopped = false;

  private constructor(ol: string, dir: string, port: number) {
    this.#ol = ol;
    this.dir = dir;
    this.port = port;
  }

  /**
   * Creates the cluster, configures it and waits until its worker is ready.
   * @param ol path of the executable
   * @param dir path that does not exist yet
   * @param options default: default configuration, no lambda
   * @throws {Error} with the words of the command that failed
   */
  static async start(ol: string, dir: string, options: ClusterOptions = {}): Promise<Cluster> {
    await command([ol, "new", `--cluster=${dir}`]);
    if (options.config !== undefined) {
      await command([ol, "setconf", `--cluster=${dir}`, JSON.stringify(options.config)]);
    }
    const port = await freePort();
    const cluster = new Cluster(ol, dir, port);
    for (const [name, files] of Object.entries(options.lambdas ?? {})) {
      cluster.writeLambda(name, files);
    }
    try {
      await command([ol, "workers", `--cluster=${dir}`, `--port=${port}`]);
    } catch (error) {
      await tryCommand([ol, "kill", `--cluster=${dir}`]);
      throw error;
    }
    return cluster;
  }

  /**
   * @param name of the lambda
   * @param files content by file name, such as `lambda_func.py`
   */
  writeLambda(name: string, files: Readonly<Record<string, string>>): void {
    const dir = join(this.dir, "registry", name);
    mkdirSync(dir, { recursive: true });
    for (const [file, text] of Object.entries(files)) writeFileSync(join(dir, file), text);
  }

  /** Process id of the worker. */
  workerPid(): number {
    return Number(readFileSync(join(this.dir, "logs", "worker-0.pid"), "utf8").trim());
  }

  /** @returns the worker's own figures */
  async stats(): Promise<WorkerFigures> {
    const response = await fetch(`http://127.0.0.1:${this.port}/stats`);
    if (!response.ok) throw new Error(`Cannot read /stats: status ${response.status}`);
    return (await response.json()) as WorkerFigures;
  }

  /**
   * Polls the worker's figures until they are as wanted.
   * @param what the condition, for the error
   * @param wanted tells
   * @param timeoutMs default 30 s
   * @throws {Error} when it does not come to be
   */
  async until(
    what: string,
    wanted: (figures: WorkerFigures) => boolean,
    timeoutMs = 30_000,
  ): Promise<WorkerFigures> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const figures = await this.stats();
      if (wanted(figures)) return figures;
      if (performance.now() > deadline) {
        throw new Error(
          `Cannot wait any longer until ${what}: ${JSON.stringify(figures.sandboxes)}`,
        );
      }
      await Bun.sleep(20);
    }
  }

  /**
   * Calls a lambda once.
   * @param name of the lambda
   * @param event anything that JSON holds
   * @throws {Error} with the answer where it is not 200
   */
  async call(name: string, event: unknown): Promise<{ start: string; value: unknown }> {
    const response = await fetch(`http://127.0.0.1:${this.port}/runLambda/${name}`, {
      method: "POST",
      body: JSON.stringify(event),
    });
    const text = await response.text();
    if (!response.ok) {
      throw new Error(`Cannot call "${name}": status ${response.status}, ${text.slice(0, 1000)}`);
    }
    return { start: response.headers.get("x-ol-start") ?? "", value: JSON.parse(text) as unknown };
  }

  /** Stops the worker and removes the directory; idempotent. */
  async close(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await command([this.#ol, "kill", `--cluster=${this.dir}`]);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** The part of `GET /stats` that experiments read. */
export interface WorkerFigures {
  readonly calls: { readonly byStart: Readonly<Record<string, number>> };
  readonly caches: Readonly<
    Record<"handler" | "import" | "install", { readonly hits: number; readonly misses: number }>
  >;
  readonly sandboxes: { readonly live: number; readonly paused: number; readonly busy: number };
  readonly memory: { readonly reservedBytes: number; readonly workerRssBytes: number };
  readonly zygotes: readonly {
    readonly id: string;
    readonly parent: string | null;
    readonly imports: readonly string[];
    readonly packages: readonly string[];
    readonly hits: number;
    readonly memoryBytes: number;
    readonly importUs: number;
  }[];
}

/** @returns a port of loopback that nothing listens on right now */
export async function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const server = createServer();
  server.once("error", reject);
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    server.close(() => resolve(port));
  });
  return await promise;
}

/**
 * @param ol path of the executable under test
 * @throws {Error} that says how to build it
 */
export function requireExecutable(ol: string): void {
  if (!existsSync(ol))
    throw new Error(`Cannot run "${ol}": it does not exist, run "npm run build" first`);
}
