/** What the parts of the contract test share: an engine, and sandboxes with code made up on the spot. */

import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OlError } from "../../../src/common/errors.ts";
import type { Sandbox, SandboxPool, SandboxSpec } from "../../../src/sandbox/contract.ts";

/** An engine that was started for one suite. */
export interface EngineUnderTest {
  readonly pool: SandboxPool;
  /** `handlers` of the worker dir, where output lies. */
  readonly handlersDir: string;
  readonly packagesDir: string;
  /** Stops what `pool.close` does not; the pool is closed by then. */
  stop(): Promise<void>;
}

/** Bytes. */
export const MIB = 1024 * 1024;
/** Of calls that are to end by themselves, in milliseconds. */
export const DEADLINE_MS = 20_000;

/** The engine and a place for code; filled when the suite starts. */
export class Bench {
  /** Set when the suite starts. */
  engine!: EngineUnderTest;
  /** A directory of the host that no sandbox sees but for the code in it. */
  dir = "";
  #number = 0;

  /** Takes an engine and makes a place for code. */
  open(engine: EngineUnderTest): void {
    this.engine = engine;
    this.dir = mkdtempSync(join(tmpdir(), "ol-contract-"));
  }

  /** A sandbox with that code. */
  async make(code: string, changes: Partial<SandboxSpec> = {}): Promise<Sandbox> {
    this.#number += 1;
    const codeDir = join(this.dir, `code-${this.#number}`);
    mkdirSync(codeDir, { mode: 0o755 });
    writeFileSync(join(codeDir, "lambda_func.py"), code, { mode: 0o644 });
    return this.engine.pool.create({
      lambdaName: "contract",
      codeDir,
      codeId: `contract-${this.#number}`,
      packages: [],
      zygoteId: null,
      limits: {
        memoryMaxBytes: 128 * MIB,
        processesMax: 32,
        cpuPercent: 100,
        runtimeMs: DEADLINE_MS,
        scratchMaxBytes: 64 * MIB,
      },
      network: "none",
      env: {},
      concurrency: 1,
      ...changes,
    });
  }

  /** Makes one, runs it once, destroys it. */
  async once(code: string, event?: unknown, changes?: Partial<SandboxSpec>): Promise<unknown> {
    const sandbox = await this.make(code, changes);
    try {
      return await call(sandbox, event);
    } finally {
      await sandbox.destroy();
    }
  }
}

/** Calls with a value and returns the value of the answer. */
export async function call(
  sandbox: Sandbox,
  event?: unknown,
  deadlineMs = DEADLINE_MS,
): Promise<unknown> {
  const body = event === undefined ? "" : JSON.stringify(event);
  const result = await sandbox.call(new TextEncoder().encode(body), deadlineMs);
  return JSON.parse(new TextDecoder().decode(result.body));
}

/** The error that a promise is rejected with. */
export async function failure(promise: Promise<unknown>): Promise<OlError> {
  const outcome: unknown = await promise.then(
    (value) => new Error(`it succeeded with ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
  if (outcome instanceof OlError) return outcome;
  throw outcome;
}

/** Waits for a condition; there is nothing to be told by. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error("the condition never came true");
    await Bun.sleep(10);
  }
}
