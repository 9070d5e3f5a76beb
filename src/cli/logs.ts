/** `ol logs`: what a lambda printed. */

import { existsSync, type FSWatcher, watch } from "node:fs";
import { join } from "node:path";
import { defineCommand } from "citty";
import type { ClusterPaths } from "../cluster/paths.ts";
import { OlError } from "../common/errors.ts";
import { requireLambdaName } from "../common/names.ts";
import { CallIndex, directoriesToWatch, listInstances, readFrom, STREAMS } from "./log-source.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { openNotes, print, printJson } from "./output.ts";
import { forTerminal } from "./text.ts";

/** One output file and how far it was printed. */
interface Source {
  readonly worker: string;
  readonly instance: string;
  readonly stream: string;
  readonly path: string;
  readonly decoder: TextDecoder;
  /** Shared by the streams of an instance; null where requests are not asked for. */
  readonly calls: CallIndex | null;
  printedBytes: number;
}

/** How output is shown. */
export interface LogPrinterOptions {
  /** One JSON object per piece instead of text. */
  readonly json: boolean;
  /** Says with each piece which request it belongs to. */
  readonly requests: boolean;
}

/** Prints output files in order, each piece once. */
export class LogPrinter {
  readonly #paths: ClusterPaths;
  readonly #lambda: string;
  readonly #options: LogPrinterOptions;
  readonly #sources = new Map<string, Source>();
  #lastTitle: string | null = null;
  #atLineStart = true;

  /**
   * @param paths of the cluster
   * @param lambda its name
   * @param options how it is shown
   */
  constructor(paths: ClusterPaths, lambda: string, options: LogPrinterOptions) {
    this.#paths = paths;
    this.#lambda = lambda;
    this.#options = options;
  }

  /** @returns whether any file of the lambda was seen so far */
  get hasSources(): boolean {
    return this.#sources.size > 0;
  }

  /**
   * Prints what is new, oldest instance first.
   * @param isLast whether output is shown as well whose request is not known yet
   */
  printNew(isLast: boolean): void {
    const seen = new Set<string>();
    for (const { worker, instance, dir } of listInstances(this.#paths, this.#lambda)) {
      const known = this.#sources.get(join(dir, STREAMS[0]));
      const calls = known?.calls ?? (this.#options.requests ? new CallIndex(dir) : null);
      // Read before the output: what it speaks of is there then.
      calls?.update();
      for (const stream of STREAMS) {
        const path = join(dir, stream);
        seen.add(path);
        const decoder = new TextDecoder();
        const fresh = { worker, instance, stream, path, decoder, calls, printedBytes: 0 };
        const source = this.#sources.get(path) ?? fresh;
        this.#sources.set(path, source);
        this.#printSource(source, isLast);
      }
    }
    for (const path of this.#sources.keys()) if (!seen.has(path)) this.#sources.delete(path);
  }

  #printSource(source: Source, isLast: boolean): void {
    const { calls, stream, path } = source;
    const show = (requestId: string | null, endBytes?: number): void => {
      const take = (piece: Uint8Array): void => this.#printPiece(source, piece, requestId);
      source.printedBytes = readFrom(path, source.printedBytes, take, endBytes);
    };
    for (;;) {
      const call = calls?.find(stream, source.printedBytes) ?? null;
      if (call === null) break;
      const before = source.printedBytes;
      show(call.requestId, call.endBytes);
      // Cut since, as it was too long.
      if (source.printedBytes === before) return;
    }
    if (calls === null || isLast) show(null);
  }

  #printPiece(source: Source, piece: Uint8Array, requestId: string | null): void {
    const text = source.decoder.decode(piece, { stream: true });
    if (text === "") return;
    const { worker, instance, stream } = source;
    const { json, requests } = this.#options;
    if (json) {
      printJson({ worker, instance, stream, ...(requests ? { requestId } : {}), text });
      return;
    }
    const whose = requests ? ` request ${requestId ?? "unknown"}` : "";
    const title = `==> ${worker} instance ${instance} ${stream}${whose} <==\n`;
    if (this.#lastTitle !== title) {
      const gap = this.#lastTitle === null ? "" : this.#atLineStart ? "\n" : "\n\n";
      print(`${gap}${title}`);
      this.#lastTitle = title;
    }
    print(forTerminal(text, process.stdout.isTTY));
    this.#atLineStart = text.endsWith("\n");
  }

  /** Ends a last line that the lambda left open. */
  finish(): void {
    if (!this.#atLineStart) print("\n");
  }
}

/**
 * Prints until the program is interrupted. A watch on a file goes deaf when the file is replaced, so
 * directories are watched, and whatever happens in one makes everything be looked at again.
 */
async function follow(paths: ClusterPaths, lambda: string, printer: LogPrinter): Promise<void> {
  const watchers = new Map<string, FSWatcher>();
  let wake = Promise.withResolvers<void>();
  const done = new AbortController();
  const stop = (): void => {
    done.abort();
    wake.resolve();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, stop);
  while (!done.signal.aborted) {
    // Armed before looking, so that what happens during the look is not lost.
    wake = Promise.withResolvers<void>();
    const wanted = new Set(directoriesToWatch(paths, lambda).filter((dir) => existsSync(dir)));
    for (const [dir, watcher] of watchers) {
      if (wanted.has(dir)) continue;
      watcher.close();
      watchers.delete(dir);
    }
    let hasNew = false;
    for (const dir of wanted) {
      if (watchers.has(dir)) continue;
      try {
        const watcher = watch(dir, () => wake.resolve());
        watcher.on("error", () => wake.resolve());
        watchers.set(dir, watcher);
        hasNew = true;
      } catch {
        // Gone since it was listed; its parent's watch tells.
      }
    }
    printer.printNew(false);
    // A directory may have got children between being listed and being watched.
    if (!hasNew) await wake.promise;
  }
  printer.printNew(true);
  for (const watcher of watchers.values()) watcher.close();
}

/** A lambda that has not run yet is told apart from a name that was mistyped by asking the registry. */
async function refuseUnknown(paths: ClusterPaths, lambda: string): Promise<void> {
  const { openTemplateRegistry } = await import("./registry-of.ts");
  const { registry, where } = openTemplateRegistry(paths);
  if ((await registry.resolve(lambda)) !== null) return;
  throw new OlError(
    "lambda_unknown",
    `Cannot show logs of ${lambda}: no worker of ${paths.root} has output of it, and the ` +
      `registry ${where} does not hold it`,
    { op: "cli.logs" },
  );
}

export default defineCommand({
  meta: { description: "Shows what a lambda printed, newest instance last." },
  args: {
    cluster: CLUSTER_ARG,
    name: { type: "positional", required: true, description: "The lambda" },
    follow: {
      type: "boolean",
      alias: "f",
      description: "Go on showing what it prints, until interrupted",
    },
    requests: {
      type: "boolean",
      description: "Say which request printed what; with --follow, shown once its call has ended",
    },
    json: { ...JSON_ARG, description: "Print one JSON object per piece of output" },
  },
  async run({ args }): Promise<void> {
    requireLambdaName(args.name);
    const paths = await openClusterOf(args.cluster);
    const printer = new LogPrinter(paths, args.name, {
      json: args.json === true,
      requests: args.requests === true,
    });
    if (args.follow === true) return follow(paths, args.name, printer);
    printer.printNew(true);
    printer.finish();
    if (!printer.hasSources) {
      await refuseUnknown(paths, args.name);
      (await openNotes()).note(`${args.name} has not printed anything`);
    }
  },
});
