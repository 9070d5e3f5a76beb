/** All lambdas of a worker: the `LambdaService` behind the server. */

import { join } from "node:path";
import type { Clock } from "../common/clock.ts";
import type { ErrorCode } from "../common/errors.ts";
import { LAMBDA_FORGET_INTERVAL_MS, STARTS_MAX } from "../common/limits.ts";
import type { Logger } from "../common/log.ts";
import type { Config } from "../config/config.ts";
import type { InstallStats, PackageInstaller } from "../packages/contract.ts";
import type { Registry } from "../registry/contract.ts";
import type { Sandbox, SandboxPool, SandboxUsage } from "../sandbox/contract.ts";
import { MemoryPool } from "../sandbox/memory-pool.ts";
import type { ImportCache } from "../zygote/import-cache.ts";
import { CallStats } from "./call-stats.ts";
import type { LambdaService, RunOutcome, RunRequest, WorkerStats } from "./contract.ts";
import { IdleList } from "./idle-list.ts";
import { Instance } from "./instance.ts";
import { Lambda } from "./lambda.ts";
import type { StartedInstance, StartParts } from "./start.ts";
import { StartGate } from "./start-gate.ts";
import { type CodeVersion, VersionSource } from "./versions.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** What the table is made of. */
export interface LambdaTableOptions {
  readonly config: Config;
  readonly pool: SandboxPool;
  readonly registry: Registry;
  readonly installer: (PackageInstaller & { stats(): InstallStats }) | null;
  /** Null where the engine cannot fork. */
  readonly imports: ImportCache | null;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Entry {
  readonly lambda: Lambda;
  readonly versions: VersionSource;
  lastCallUs: number;
}

/** The lambda layer of one worker. */
export class LambdaTable implements LambdaService {
  readonly #options: LambdaTableOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #memory: MemoryPool;
  readonly #idle: IdleList;
  readonly #starts: StartParts;
  readonly #room: WaitingRoom;
  readonly #stats = new CallStats();
  readonly #forget: ReturnType<typeof setInterval>;
  readonly #instances = new Set<Instance>();
  readonly #startedUs: number;
  readonly #onIdle: (() => void)[] = [];
  /** What sandboxes that are gone have used. */
  readonly #used = { outOfMemoryKills: 0, cpuUs: 0, throttledUs: 0 };
  #reused = 0;
  #created = 0;
  #draining = false;

  /** @param options engine, registry, settings */
  constructor(options: LambdaTableOptions) {
    this.#options = options;
    const { config, clock, log } = options;
    this.#startedUs = clock.nowUs();
    const onPauseError = (error: unknown): void => {
      log.limited("lambda.pause", "warn", "cannot pause a sandbox", { err: error });
    };
    this.#idle = new IdleList(config.handlerCacheBytes, clock, onPauseError, () => {
      this.#memory.retry();
    });
    this.#memory = new MemoryPool(config.memoryPoolBytes, (missing) => this.#reclaim(missing));
    this.#room = new WaitingRoom(config.queueMax);
    this.#starts = {
      memory: this.#memory,
      memoryMaxBytes: config.limits.memoryMaxBytes,
      gate: new StartGate(STARTS_MAX),
      create: (version, onRemoved) => this.#create(version, onRemoved),
    };
    this.noteZygoteMemory(options.imports?.memoryBytes ?? 0);
    this.#forget = setInterval(() => {
      this.#forgetUnused();
    }, LAMBDA_FORGET_INTERVAL_MS);
    this.#forget.unref();
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** @returns a promise that settles once no call is without its answer */
  idle(): Promise<void> {
    if (this.#stats.inFlight === 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle.push(resolve);
    return promise;
  }

  async run(request: RunRequest): Promise<RunOutcome> {
    const { clock } = this.#options;
    const startUs = clock.nowUs();
    this.#stats.begin();
    const entry = this.#entries.get(request.name) ?? this.#makeEntry(request.name);
    entry.lastCallUs = startUs;
    const outcome = await entry.lambda.run(request);
    if (outcome.error?.code === "lambda_unknown" && this.#isUnused(entry)) {
      this.#drop(request.name, entry);
    }
    if (outcome.start === "warm" || outcome.start === "unpaused") this.#reused += 1;
    outcome.timing.totalUs = clock.nowUs() - startUs;
    this.#stats.end(outcome);
    if (this.#stats.inFlight === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    return outcome;
  }

  refused(code: ErrorCode): void {
    this.#stats.refuse(code);
  }

  /** @param bytes that all zygotes of the import cache hold now */
  noteZygoteMemory(bytes: number): void {
    this.#memory.noteOther(bytes);
  }

  /** @param ids of zygotes that only their idle sandboxes keep alive */
  freeZygotes(ids: readonly string[]): void {
    this.#idle.evictForkedFrom(new Set(ids));
  }

  /** From now on the server answers 503. */
  drain(): void {
    this.#draining = true;
  }

  /** Destroys every instance; calls that still run fail. */
  async close(): Promise<void> {
    this.#draining = true;
    clearInterval(this.#forget);
    this.#idle.close();
    await Promise.all([...this.#entries.values()].map(({ lambda }) => lambda.close()));
  }

  stats(): WorkerStats {
    const { installer, imports, clock } = this.#options;
    const install = installer?.stats() ?? { hits: 0, misses: 0, failures: 0 };
    const tree = imports?.stats() ?? { hits: 0, misses: 0, evictions: 0, zygotes: [] };
    const instances = [...this.#instances];
    return {
      uptimeMs: Math.round((clock.nowUs() - this.#startedUs) / 1000),
      calls: { ...this.#stats.calls(), queued: this.#room.size },
      stages: this.#stats.stages(),
      caches: {
        handler: {
          hits: this.#reused,
          misses: this.#created,
          evictions: this.#idle.evictions,
        },
        import: { hits: tree.hits, misses: tree.misses, evictions: tree.evictions },
        install: { hits: install.hits, misses: install.misses, failures: install.failures },
      },
      sandboxes: {
        live: instances.length,
        paused: instances.filter((instance) => instance.isPaused).length,
        busy: instances.filter((instance) => instance.busy > 0).length,
        ...this.#used,
      },
      memory: {
        poolBytes: this.#memory.totalBytes,
        reservedBytes: this.#memory.reservedBytes,
        zygoteBytes: this.#memory.otherBytes,
        workerRssBytes: process.memoryUsage.rss(),
      },
      lambdas: this.#entries.size,
      zygotes: tree.zygotes,
    };
  }

  /** Idle instances first: they can be made anew in milliseconds, a zygote takes as long as its imports. */
  #reclaim(missingBytes: number): boolean {
    if (this.#idle.reclaim(missingBytes)) return true;
    return (this.#options.imports?.releaseMemory(missingBytes) ?? 0) > 0;
  }

  #makeEntry(name: string): Entry {
    const { config, registry, installer, clock, log } = this.#options;
    const versions = new VersionSource(name, {
      registry,
      installer,
      codeRoot: join(config.workerDir, "code"),
      cacheMs: config.registry.cacheMs,
      clock,
      log,
    });
    const lambda = new Lambda({
      clock,
      idle: this.#idle,
      versions,
      concurrency: config.maxRunners,
      measuresUsage: config.timing || config.benchmarkLog !== null,
      starts: this.#starts,
      room: this.#room,
    });
    const entry = { lambda, versions, lastCallUs: 0 };
    this.#entries.set(name, entry);
    return entry;
  }

  async #create(
    version: CodeVersion,
    onRemoved: (instance: Instance) => void,
  ): Promise<StartedInstance> {
    const { config, imports, clock } = this.#options;
    const before = clock.nowUs();
    const { installed } = version;
    const lease = imports === null || installed === null ? null : imports.acquire(installed);
    try {
      const sandbox = await this.#createSandbox(version, lease?.zygote ?? null);
      this.#created += 1;
      const instance = new Instance(
        { version, sandbox, limits: config.limits, memory: this.#memory, lease },
        (gone, usage) => {
          this.#instances.delete(gone);
          this.#addUsage(usage);
          onRemoved(gone);
        },
      );
      this.#instances.add(instance);
      return { instance, sandboxUs: clock.nowUs() - before };
    } catch (error) {
      lease?.release(null);
      throw error;
    }
  }

  #addUsage(usage: SandboxUsage | null): void {
    if (usage === null) return;
    this.#used.outOfMemoryKills += usage.outOfMemoryKills;
    this.#used.cpuUs += usage.cpuUs;
    this.#used.throttledUs += usage.throttledUs;
  }

  #createSandbox(version: CodeVersion, zygoteId: string | null): Promise<Sandbox> {
    const { config, pool } = this.#options;
    return pool.create({
      lambdaName: version.lambdaName,
      codeDir: version.codeDir,
      codeId: version.codeId,
      packages: version.installed?.dirs ?? [],
      zygoteId,
      limits: config.limits,
      network: config.network,
      env: config.sandboxEnv,
      concurrency: config.maxRunners,
    });
  }

  /** Lambdas without a call for a while and without an instance take no memory. */
  #forgetUnused(): void {
    const { clock } = this.#options;
    const before = clock.nowUs() - LAMBDA_FORGET_INTERVAL_MS * 1000;
    for (const [name, entry] of this.#entries) {
      if (entry.lastCallUs <= before && this.#isUnused(entry)) this.#drop(name, entry);
    }
  }

  #isUnused({ lambda, versions }: Entry): boolean {
    return lambda.isUnused && !versions.isChecking;
  }

  /** The name may have a newer entry already, made for a call that came after. */
  #drop(name: string, entry: Entry): void {
    entry.versions.close();
    if (this.#entries.get(name) === entry) this.#entries.delete(name);
  }
}
