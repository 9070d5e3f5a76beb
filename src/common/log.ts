/**
 * The worker's log: one line per event, JSON or text, with the same few fields everywhere.
 *
 * Lines are collected and written in batches, because a log line must never cost a call more than a
 * microsecond. What a guest or a client can trigger is logged through `limited`, so that neither
 * can fill the disk. Nothing here formats for a command's user: that is `cli/`.
 */

import { type Clock, systemClock } from "./clock.ts";
import { errnoNameOf, OlError } from "./errors.ts";
import { LOG_LIMIT_BURST, LOG_LIMIT_INTERVAL_MS } from "./limits.ts";

/** How much a line matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";

const RANK: Readonly<Record<LogLevel, number>> = { debug: 10, info: 20, warn: 30, error: 40 };

/** Facts of one line. The named ones are the same in every module; others may be added. */
export interface LogFields {
  /** `module.verb`. */
  readonly op?: string;
  readonly lambda?: string;
  readonly sandboxId?: string;
  readonly requestId?: string;
  readonly durationMs?: number;
  /** Anything thrown; told as code, message and cause, with a stack only for bugs of ours. */
  readonly err?: unknown;
  readonly [field: string]: unknown;
}

/** Where modules log to. */
export interface Logger {
  debug(msg: string, fields?: LogFields): void;
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** Same as the method of that name; for levels that come from `ERROR_RULES`. */
  log(level: LogLevel, msg: string, fields?: LogFields): void;
  /**
   * Logs at most `LOG_LIMIT_BURST` lines per `LOG_LIMIT_INTERVAL_MS` and site; the first line of
   * the next interval says how many were left out (`suppressed`).
   *
   * @param site constant name of the place in the code; never made of what a guest or client sent
   */
  limited(site: string, level: LogLevel, msg: string, fields?: LogFields): void;
  /** @returns whether lines of that level are written; guards fields that are costly to gather */
  enabled(level: LogLevel): boolean;
  /** @returns a logger that adds `fields` to each line; limits are shared with this one */
  child(fields: LogFields): Logger;
}

/** Takes finished lines. */
export interface LogSink {
  /**
   * @param line one line with its line feed
   * @param urgent write it now rather than with the next batch
   */
  write(line: string, urgent: boolean): void;
}

/** What a logger is made of. */
export interface LoggerOptions {
  readonly sink: LogSink;
  /** Lowest level written; default `info`. */
  readonly level?: LogLevel;
  /** Default `json`. */
  readonly format?: "json" | "text";
  readonly clock?: Clock;
}

/**
 * @param options sink, level, format
 * @returns a logger
 */
export function createLogger(options: LoggerOptions): Logger {
  const clock = options.clock ?? systemClock;
  return new LineLogger(
    {
      sink: options.sink,
      minRank: RANK[options.level ?? "info"],
      render: options.format === "text" ? renderText : renderJson,
      clock,
      limiter: new LogLimiter(clock),
    },
    {},
  );
}

interface LoggerCore {
  readonly sink: LogSink;
  readonly minRank: number;
  readonly render: (line: Line) => string;
  readonly clock: Clock;
  readonly limiter: LogLimiter;
}

interface Line {
  readonly timeMs: number;
  readonly level: LogLevel;
  readonly msg: string;
  readonly fields: LogFields;
}

class LineLogger implements Logger {
  readonly #core: LoggerCore;
  readonly #bound: LogFields;

  constructor(core: LoggerCore, bound: LogFields) {
    this.#core = core;
    this.#bound = bound;
  }

  debug(msg: string, fields?: LogFields): void {
    this.log("debug", msg, fields);
  }

  info(msg: string, fields?: LogFields): void {
    this.log("info", msg, fields);
  }

  warn(msg: string, fields?: LogFields): void {
    this.log("warn", msg, fields);
  }

  error(msg: string, fields?: LogFields): void {
    this.log("error", msg, fields);
  }

  log(level: LogLevel, msg: string, fields?: LogFields): void {
    if (!this.enabled(level)) return;
    const { sink, render, clock } = this.#core;
    const line = { timeMs: clock.wallMs(), level, msg, fields: { ...this.#bound, ...fields } };
    sink.write(render(line), level === "error");
  }

  limited(site: string, level: LogLevel, msg: string, fields?: LogFields): void {
    if (!this.enabled(level)) return;
    const suppressed = this.#core.limiter.admit(site);
    if (suppressed === null) return;
    this.log(level, msg, suppressed === 0 ? fields : { ...fields, suppressed });
  }

  enabled(level: LogLevel): boolean {
    return RANK[level] >= this.#core.minRank;
  }

  child(fields: LogFields): Logger {
    return new LineLogger(this.#core, { ...this.#bound, ...fields });
  }
}

interface Site {
  startUs: number;
  admitted: number;
  suppressed: number;
}

/** Counts lines per site and interval. Sites are constants of the code, so the map is bounded. */
class LogLimiter {
  readonly #clock: Clock;
  readonly #sites = new Map<string, Site>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * @param name the site
   * @returns how many lines were suppressed before this one, or null when this one is to be too
   */
  admit(name: string): number | null {
    const nowUs = this.#clock.nowUs();
    const site = this.#sites.get(name);
    if (site === undefined) {
      this.#sites.set(name, { startUs: nowUs, admitted: 1, suppressed: 0 });
      return 0;
    }
    if (nowUs - site.startUs >= LOG_LIMIT_INTERVAL_MS * 1000) {
      const suppressed = site.suppressed;
      site.startUs = nowUs;
      site.admitted = 1;
      site.suppressed = 0;
      return suppressed;
    }
    if (site.admitted < LOG_LIMIT_BURST) {
      site.admitted += 1;
      return 0;
    }
    site.suppressed += 1;
    return null;
  }
}

function renderJson({ timeMs, level, msg, fields }: Line): string {
  const { err, ...rest } = fields;
  const line = { ts: new Date(timeMs).toISOString(), level, msg, ...rest };
  try {
    return `${JSON.stringify(err === undefined ? line : { ...line, err: describeError(err) })}\n`;
  } catch {
    // A field that JSON cannot hold (a cycle, a bigint) must not lose the line.
    return `${JSON.stringify({ ts: line.ts, level, msg, fields: Bun.inspect(fields) })}\n`;
  }
}

function renderText({ timeMs, level, msg, fields }: Line): string {
  const { err, ...rest } = fields;
  let text = `${new Date(timeMs).toISOString()} ${level.toUpperCase().padEnd(5)} ${visible(msg)}`;
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined) continue;
    const shown = typeof value === "string" ? value : Bun.inspect(value, { compact: true });
    text += ` ${name}=${/^[^\s"=]+$/.test(shown) ? visible(shown) : JSON.stringify(shown)}`;
  }
  if (err === undefined) return `${text}\n`;
  const { code, message, stack } = describeError(err);
  text += ` err.code=${code} err=${JSON.stringify(message)}`;
  return stack === undefined ? `${text}\n` : `${text}\n${stack.replaceAll(CONTROL, "?")}\n`;
}

/** Control characters but tab and line feed: a guest's words must not steer a terminal. */
// oxlint-disable-next-line no-control-regex -- finding control characters is its purpose
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

function visible(text: string): string {
  return text.replaceAll(/[\n\t]/g, " ").replaceAll(CONTROL, "?");
}

interface ErrorDescription {
  readonly code: string;
  readonly message: string;
  readonly op?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: ErrorDescription;
  readonly stack?: string;
}

/** Deepest chain of causes that is told. */
const CAUSES_MAX = 4;

function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) return { code: "unknown", message: String(error) };
  const isBug = !(error instanceof OlError) || error.code === "internal";
  const known = error instanceof OlError ? error : null;
  const hasDetails = known !== null && Object.keys(known.details).length > 0;
  const hasCause = error.cause !== undefined && depth < CAUSES_MAX;
  return {
    code: known?.code ?? errnoNameOf(error) ?? error.name,
    message: error.message,
    ...(known?.op === undefined ? {} : { op: known.op }),
    ...(hasDetails ? { details: known.details } : {}),
    ...(hasCause ? { cause: describeError(error.cause, depth + 1) } : {}),
    ...(isBug && error.stack !== undefined ? { stack: error.stack } : {}),
  };
}

/** A logger that writes nothing. */
export const silentLogger: Logger = createLogger({ sink: { write: () => {} } });
