/** Composition root of a worker: builds engine, registry, caches and server from a Config, and ends them. */

import { systemClock } from "../common/clock.ts";
import { DRAIN_EXTRA_MS, RETIRE_EXTRA_MS } from "../common/limits.ts";
import { createLogger, type Logger } from "../common/log.ts";
import { openLogFile } from "../common/log-file.ts";
import { createLogWriter } from "../common/log-writer.ts";
import type { Config } from "../config/config.ts";
import { LambdaTable } from "../lambda/lambda-table.ts";
import { PipInstaller } from "../packages/pip-installer.ts";
import { openRegistry } from "../registry/open.ts";
import { type RunningServer, type ServerOptions, startServer } from "../server/server.ts";
import { ImportCache, type ImportCacheOptions } from "../zygote/import-cache.ts";
import { openBenchmarkLog } from "./benchmark-log.ts";
import { type Engine, openEngine } from "./engine.ts";
import { removeScratch } from "./reclaim.ts";
import { preferNewestListener } from "./shared-port.ts";

const STOP_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** Sent once a successor listens on the worker's port. */
const RETIRE_SIGNAL = "SIGUSR2";

/** What signals ask of a worker. */
interface Signals {
  /** The first one that asks it to end; the second ends it at once. */
  readonly stopped: Promise<string>;
  /** The one that tells it of its successor. */
  readonly retired: Promise<string>;
}

function watchSignals(log: Logger): Signals {
  const { promise, resolve } = Promise.withResolvers<string>();
  const retired = Promise.withResolvers<string>();
  process.on(RETIRE_SIGNAL, () => {
    retired.resolve(RETIRE_SIGNAL);
  });
  let isStopping = false;
  for (const signal of STOP_SIGNALS) {
    process.on(signal, () => {
      if (isStopping) {
        log.warn("stopped again: ending at once", { op: "worker.stop", signal });
        process.exit(1);
      }
      isStopping = true;
      resolve(signal);
    });
  }
  return { stopped: promise, retired: retired.promise };
}

/** Lets the calls in flight end; those that do not are ended, whatever they wait for. */
async function drain(table: LambdaTable, config: Config, log: Logger): Promise<void> {
  table.drain();
  const boundMs = config.limits.runtimeMs + DRAIN_EXTRA_MS;
  const isIdle = await Promise.race([
    table.idle().then(() => true),
    Bun.sleep(boundMs).then(() => false),
  ]);
  if (isIdle) return;
  log.warn("calls did not end in time and are ended", { op: "worker.stop", boundMs });
  await table.close();
}

/** The import cache of an engine that can fork; it hears of zygotes that die. */
function openImportCache(
  engine: Engine,
  config: Config,
  log: Logger,
  listener: Pick<ImportCacheOptions, "onMemory" | "onPinned">,
): ImportCache | null {
  if (engine.zygotes === null) return null;
  const cache = new ImportCache({
    host: engine.zygotes,
    clock: systemClock,
    budgetBytes: config.importCacheBytes,
    ...listener,
    onFailure: (modules, error) => {
      const fields = { op: "zygote.create", modules, err: error };
      log.limited("zygote.create", "warn", "cannot make a zygote", fields);
    },
  });
  engine.zygotes.onZygoteGone((id) => {
    cache.zygoteGone(id);
  });
  return cache;
}

async function openInstaller(engine: Engine, config: Config): Promise<PipInstaller> {
  return await PipInstaller.open({
    packagesDir: config.packagesDir,
    runner: engine.runner,
    limits: config.installerLimits,
    mirror: config.pipMirror,
    python: engine.python,
    env: process.env,
  });
}

/**
 * Installs and pre-imports `startup_pkgs`; a worker that cannot is not started.
 * @returns false where a signal asked for the end meanwhile: what is under way ends with what is closed
 */
async function tryPreload(
  config: Config,
  installer: PipInstaller,
  imports: ImportCache | null,
  signals: Signals,
): Promise<boolean> {
  const loading = preload(config, installer, imports);
  // Once nobody waits for it any more, its failure is only that of being ended.
  loading.catch(() => {});
  const stopped = signals.stopped.then(() => false);
  return await Promise.race([loading.then(() => true), stopped]);
}

async function preload(
  config: Config,
  installer: PipInstaller,
  imports: ImportCache | null,
): Promise<void> {
  if (config.startupPackages.length === 0) return;
  const installed = await installer.ensureStartup(config.startupPackages);
  await imports?.preload(installed);
}

/** Listens, and goes on until a signal asks for the end. */
async function answerCalls(
  options: ServerOptions,
  runtimeMs: number,
  signals: Signals,
): Promise<RunningServer> {
  const { log } = options;
  const server = await startServer(options);
  try {
    preferNewestListener(server.port);
  } catch (error) {
    log.warn("a successor will get only part of the connections at first", {
      op: "worker.start",
      err: error,
    });
  }
  log.info("ready", { op: "worker.start", port: server.port, pid: process.pid });
  const signal = await Promise.race([signals.stopped, signals.retired]);
  if (signal === RETIRE_SIGNAL) {
    log.info("retiring", { op: "worker.stop", signal });
    await Promise.race([server.retire(runtimeMs + RETIRE_EXTRA_MS), signals.stopped]);
  }
  log.info("draining", { op: "worker.stop", signal });
  return server;
}

async function serve(config: Config, log: Logger, isSuccessor: boolean): Promise<void> {
  const signals = watchSignals(log);
  removeScratch(config.workerDir);
  const engine = await openEngine(config, log);
  const closers: (() => Promise<void> | void)[] = [() => engine.close()];
  try {
    const installer = await openInstaller(engine, config);
    let table: LambdaTable | null = null;
    const imports = openImportCache(engine, config, log, {
      onMemory: (bytes) => table?.noteZygoteMemory(bytes),
      onPinned: (ids) => table?.freeZygotes(ids),
    });
    if (imports !== null) closers.push(() => imports.close());
    if (!(await tryPreload(config, installer, imports, signals))) {
      log.info("stopping before it was ready", { op: "worker.stop" });
      return;
    }
    const lambdas = new LambdaTable({
      config,
      pool: engine.pool,
      registry: openRegistry(config.registry),
      installer,
      imports,
      clock: systemClock,
      log,
    });
    table = lambdas;
    closers.push(() => lambdas.close());
    const benchmark = config.benchmarkLog === null ? null : openBenchmarkLog(config.benchmarkLog);
    if (benchmark !== null) closers.push(benchmark.close);
    const onCall = benchmark === null ? {} : { onCall: benchmark.write };
    const sharePort = isSuccessor ? "now" : "later";
    const options = { config, service: lambdas, log, sharePort, ...onCall } as const;
    const server = await answerCalls(options, config.limits.runtimeMs, signals);
    await drain(lambdas, config, log);
    await server.stop();
  } finally {
    for (const close of closers.toReversed()) await close();
  }
}

/** How a worker is run. */
export interface RunOptions {
  /** Where it logs, bounded; null: to stdout. */
  readonly logFile: string | null;
  /** True where another worker has the port and retires once this one answers. */
  readonly isSuccessor: boolean;
}

/**
 * Runs a worker until a signal ends it.
 * @param configPath where its settings came from, for the log
 * @param config its settings
 * @param options where it logs, and whether it takes the place of a worker that lives
 * @returns exit status: 0 after a clean stop
 * @throws {OlError} where it cannot start
 */
export async function runWorker(
  configPath: string,
  config: Config,
  { logFile, isSuccessor }: RunOptions,
): Promise<number> {
  const writer = logFile === null ? createLogWriter() : openLogFile(logFile);
  const format = logFile === null && process.stdout.isTTY ? "text" : "json";
  const log = createLogger({ sink: writer, format });
  try {
    log.info("starting", { op: "worker.start", config: configPath, sandbox: config.sandbox });
    await serve(config, log, isSuccessor);
    log.info("stopped", { op: "worker.stop" });
    return 0;
  } finally {
    writer.close();
  }
}
