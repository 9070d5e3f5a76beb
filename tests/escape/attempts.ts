/**
 * Runs tables of attempts to break out: each is a lambda of its own that tries one thing and says what
 * came of it, and, as the positive control, the same Python run by root outside of any sandbox.
 */

import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import type { TestWorker } from "../helpers/worker.ts";

/** The control outside. */
export interface Outside {
  /** What it must come to; undefined: anything but what came of it inside. */
  readonly expected?: unknown;
  /** Where it has to be written differently; default the same. */
  readonly code?: string;
  readonly event?: unknown;
  /** Arguments of unshare(1), where it would disturb the host. */
  readonly unshare?: readonly string[];
}

/** One attempt. */
export interface Attempt {
  /** What is tried, as the test's name. */
  readonly row: string;
  /** Body of `def handler(event)`; an OSError that it raises becomes the errno's name. */
  readonly code: string;
  readonly event?: unknown;
  /** Exactly what comes of it in a sandbox. */
  readonly expected: unknown;
  /** Null where the sandbox's answer shows by itself that the attempt could have worked. */
  readonly outside: Outside | null;
}

/** What is only known once a worker runs. */
export type AttemptOf<Context> = Omit<Attempt, "event" | "outside"> & {
  readonly event?: (context: Context) => unknown;
  readonly outside: (Omit<Outside, "event"> & { event?: (context: Context) => unknown }) | null;
};

/** Python that every attempt starts with. */
export const PRELUDE = readFileSync(join(PROJECT_DIR, "tests/fixtures/escape/attack.py"), "utf8");
const PYTHON = "/usr/bin/python3";

function attemptOf(code: string): string {
  const body = code
    .trim()
    .split("\n")
    .map((line) => `    ${line}`)
    .join("\n");
  return `def _attempt(event):\n${body}\n`;
}

const program = (code: string): string =>
  `${PRELUDE}\n\n${attemptOf(code)}\n\ndef handler(event):\n    return attempt(_attempt, event)\n`;

let number = 0;

/**
 * @param worker where the lambda runs
 * @param code body of its handler, over the prelude
 * @param event what it gets
 * @returns its answer
 * @throws {Error} when it is not answered with 200
 */
export async function inside(
  worker: TestWorker,
  code: string,
  event: unknown = null,
): Promise<unknown> {
  number += 1;
  const name = `attempt-${number}`;
  worker.lambda(name, program(code));
  const { status, text } = await worker.call(name, event);
  if (status !== 200) throw new Error(`${status}: ${text}`);
  return JSON.parse(text);
}

const SHARED = `${PRELUDE}

def handler(event):
    names = dict(globals())
    exec(event["code"], names)
    return attempt(names["_attempt"], event["event"])
`;

/**
 * As `inside`, all in one sandbox, for an engine that takes long to make one: an attempt that fails leaves
 * nothing behind that another one looks at.
 * @param worker where the lambda runs
 * @param code body of a handler, over the prelude
 * @param event what it gets
 * @returns its answer
 * @throws {Error} when it is not answered with 200
 */
export async function insideShared(
  worker: TestWorker,
  code: string,
  event: unknown = null,
): Promise<unknown> {
  if (!existsSync(join(worker.cluster, "registry/attempts"))) worker.lambda("attempts", SHARED);
  const { status, text } = await worker.call("attempts", { code: attemptOf(code), event });
  if (status !== 200) throw new Error(`${status}: ${text}`);
  return JSON.parse(text);
}

/**
 * @param code body of a handler, over the prelude
 * @param event what it gets
 * @returns arguments of a program whose last line of output is its answer
 */
export function programArgv(code: string, event: unknown): string[] {
  const main = `${program(code)}\nprint("\\n" + json.dumps(handler(json.loads(sys.argv[1]))))\n`;
  return [PYTHON, "-I", "-c", main, JSON.stringify(event)];
}

/**
 * Runs the same as root of the host.
 * @param code body of a handler
 * @param event what it gets
 * @param unshareArgs arguments of unshare(1), or none
 * @returns its answer
 * @throws {Error} when it fails
 */
export function outside(
  code: string,
  event: unknown = null,
  unshareArgs: readonly string[] = [],
): unknown {
  const python = programArgv(code, event);
  const argv = unshareArgs.length > 0 ? ["unshare", ...unshareArgs, ...python] : python;
  const { stdout, stderr, success } = Bun.spawnSync(argv, { cwd: "/", stdin: "ignore" });
  if (!success) throw new Error(`The control failed: ${stderr.toString()}`);
  return JSON.parse(stdout.toString().trim().split("\n").at(-1) ?? "");
}

/** Runs an attempt in a sandbox and returns its answer. */
export type Inside = typeof inside;

/** A row of more than one call, which holds its result against `expected` by itself. */
export interface Scenario<Context> {
  readonly row: string;
  /** What differs between the engines. */
  readonly expected?: unknown;
  /** The last parameter is how the engine runs an attempt that leaves nothing behind. */
  readonly run: (context: Context, expected: unknown, inside: Inside) => Promise<void>;
}

/** Where one engine differs from the tables. */
export interface EngineRows {
  /** Results that are others here, by the names of rows. */
  readonly differs: Readonly<Record<string, unknown>>;
  /** How an attempt is run; default `inside`. */
  readonly inside: Inside;
}

const AS_IN_THE_TABLE: EngineRows = { differs: {}, inside };

const expectedOf = (entry: { row: string; expected?: unknown }, { differs }: EngineRows): unknown =>
  entry.row in differs ? differs[entry.row] : entry.expected;

/**
 * Makes a test of each attempt.
 * @param label goes before each test's name
 * @param context gives the worker and what events are made of
 * @param table the attempts
 * @param rows where the worker's engine differs
 */
export function testAttempts<Context extends { readonly worker: TestWorker }>(
  label: string,
  context: () => Context,
  table: readonly AttemptOf<Context>[],
  rows: EngineRows = AS_IN_THE_TABLE,
): void {
  for (const attempt of table) {
    const { row, code, event, outside: control } = attempt;
    const expected = expectedOf(attempt, rows);
    test(`${label}: ${row}`, async () => {
      const found = await rows.inside(context().worker, code, event?.(context()));
      expect(found).toEqual(expected);
      if (control === null) return;
      const wanted = (control.event ?? event)?.(context());
      const came = outside(control.code ?? code, wanted, control.unshare);
      if (control.expected === undefined) expect(came).not.toEqual(expected);
      else expect(came).toEqual(control.expected);
    });
  }
}

/**
 * Makes a test of each row.
 * @param label goes before each test's name
 * @param context what the rows are made of
 * @param table the rows
 * @param rows where the worker's engine differs
 */
export function testScenarios<Context>(
  label: string,
  context: () => Context,
  table: readonly Scenario<Context>[],
  rows: EngineRows = AS_IN_THE_TABLE,
): void {
  for (const scenario of table) {
    const expected = expectedOf(scenario, rows);
    test(`${label}: ${scenario.row}`, () => scenario.run(context(), expected, rows.inside));
  }
}
