/**
 * The guest as the real program it is: `connectingProgram()` in a real interpreter, which connects
 * to a `GuestConnection` as a container's guest does. Only where the lambda lies is moved, because
 * `/handler` of the machine is nobody's to write to.
 */

import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { OlError } from "../../../src/common/errors.ts";
import {
  GuestConnection,
  type GuestReady,
  type GuestSocket,
} from "../../../src/guest/guest-connection.ts";
import { connectingProgram } from "../../../src/guest/sources.ts";
import { encodeAssign, encodeFrame, FrameType } from "../../../src/guest/wire.ts";
import { type TempDir, tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { PYTHON } from "./python.ts";

/** What a guest is started with beside the lambda. */
export interface PythonGuestOptions {
  /** `max_runners`; default 1. */
  readonly concurrency?: number;
  /** Bytes that each output stream keeps; default: the guest's own bound. */
  readonly outputMaxBytes?: number;
  /** The whole environment of the lambda; default: none. */
  readonly env?: Readonly<Record<string, string>>;
  /** Directories on `sys.path` behind the standard library; default: none. */
  readonly packages?: readonly string[];
  /** Compiled code from an earlier guest; default: none. */
  readonly compiled?: Uint8Array;
  /** Whether the worker's bytes are written one by one; default: as they are. */
  readonly writesBytewise?: boolean;
  /** More files beside `lambda_func.py`, by name. */
  readonly files?: Readonly<Record<string, string>>;
}

/** An answer in a form that tests can compare: a value, or a code with its message. */
export type Answer = { readonly value: unknown } | { readonly code: string; readonly text: string };

/** One interpreter with one lambda. */
export class PythonGuest implements AsyncDisposable {
  /** Settles when the guest says that the lambda is loaded. */
  readonly ready: Promise<GuestReady>;
  /** Settles when the stream ends: null, or what the guest did wrong. */
  readonly ended: Promise<OlError | null>;
  readonly #dir: TempDir;
  readonly #connection: GuestConnection;
  readonly #process: Bun.Subprocess;
  #hasEnded = false;

  private constructor(
    dir: TempDir,
    parts: {
      connection: GuestConnection;
      process: Bun.Subprocess;
      ready: Promise<GuestReady>;
      ended: Promise<OlError | null>;
    },
  ) {
    this.#dir = dir;
    this.#connection = parts.connection;
    this.#process = parts.process;
    this.ready = parts.ready;
    this.ended = parts.ended;
    void this.#watch();
  }

  /**
   * @param code text of `lambda_func.py`, or its bytes; null: there is no such file
   * @param options settings of the lambda
   * @returns a guest that has been told its lambda; whether that loads is still open
   */
  static async start(
    code: string | Uint8Array | null,
    options: PythonGuestOptions = {},
  ): Promise<PythonGuest> {
    const dir = tempDir("ol-guest-");
    if (code !== null) writeFileSync(dir.join("lambda_func.py"), code);
    for (const [name, text] of Object.entries(options.files ?? {})) {
      writeFileSync(dir.join(name), text);
    }
    const ready = Promise.withResolvers<GuestReady>();
    const ended = Promise.withResolvers<OlError | null>();
    const opened = Promise.withResolvers<GuestConnection>();
    let connection: GuestConnection | null = null;
    const listener = Bun.listen({
      unix: dir.join("socket"),
      socket: {
        open: (socket) => {
          connection = new GuestConnection(options.writesBytewise ? bytewise(socket) : socket, {
            onReady: ready.resolve,
            onEnd: (error) => {
              connection?.fail(error ?? new OlError("sandbox_died", "the guest hung up"));
              ended.resolve(error);
            },
          });
          opened.resolve(connection);
        },
        data: (_socket, chunk) => connection?.received(chunk),
        drain: () => connection?.writable(),
        close: () => connection?.closed(),
        error: () => connection?.closed(),
      },
    });
    const child = spawn(dir, options);
    const made = await opened.promise;
    listener.stop(false);
    made.send(encodeFrame(FrameType.ASSIGN, 0, assignment(options)));
    return new PythonGuest(dir, {
      connection: made,
      process: child,
      ready: ready.promise,
      ended: ended.promise,
    });
  }

  /**
   * @param event JSON text, or bytes that need not be any
   * @returns the value of the answer, or how the call failed
   */
  async call(event: string | Uint8Array = ""): Promise<Answer> {
    try {
      const answer = this.#connection.call(Buffer.from(event));
      // As a sandbox does: whoever calls what has ended is told so.
      if (this.#hasEnded) this.#connection.fail(new OlError("sandbox_died", "the guest hung up"));
      const { body } = await answer;
      return { value: JSON.parse(Buffer.from(body).toString()) as unknown };
    } catch (error) {
      if (!(error instanceof OlError)) throw error;
      return { code: error.code, text: error.message };
    }
  }

  async #watch(): Promise<void> {
    await this.ended;
    this.#hasEnded = true;
  }

  /** What it wrote to stdout so far. */
  get stdout(): string {
    return readFileSync(this.#dir.join("stdout"), "utf8");
  }

  /** What it wrote to stderr so far. */
  get stderr(): string {
    return readFileSync(this.#dir.join("stderr"), "utf8");
  }

  /** Waits until stdout is that text. */
  async printed(text: string): Promise<void> {
    await waitFor(() => this.stdout === text, `the guest has printed ${JSON.stringify(text)}`);
  }

  /** Where its `lambda_func.py` lies, as tracebacks show it. */
  get handlerFile(): string {
    return this.#dir.join("lambda_func.py");
  }

  /** Hangs up, as a worker that is done. @returns the exit status */
  async hangUp(): Promise<number> {
    this.#connection.closed();
    return await this.#process.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.closed();
    this.#process.kill("SIGKILL");
    await this.#process.exited;
    this.#dir.remove();
  }
}

function bytewise(socket: GuestSocket): GuestSocket {
  return {
    write: (data) => {
      for (let at = 0; at < data.byteLength; at++) {
        if (socket.write(data.subarray(at, at + 1)) < 1) return at;
      }
      return data.byteLength;
    },
    end: () => {
      socket.end();
    },
  };
}

function assignment({ env = {}, packages = [], concurrency = 1, compiled }: PythonGuestOptions) {
  return encodeAssign({ env, packages, concurrency }, compiled ?? new Uint8Array(0));
}

function spawn(dir: TempDir, { outputMaxBytes }: PythonGuestOptions): Bun.Subprocess {
  const moved = [
    `_handler.HANDLER_DIR = ${JSON.stringify(dir.path)}`,
    `_handler.HANDLER_FILE = ${JSON.stringify(dir.join("lambda_func.py"))}`,
    ...(outputMaxBytes === undefined ? [] : [`_handler.OUTPUT_MAX = ${outputMaxBytes}`]),
    "_handler.main_connect(",
  ].join("\n");
  const program = connectingProgram(dir.join("socket")).replace("_handler.main_connect(", moved);
  // Files, not pipes: nobody has to read them in time.
  const stdout = openSync(dir.join("stdout"), "a");
  const stderr = openSync(dir.join("stderr"), "a");
  try {
    return Bun.spawn([PYTHON, "-I", "-S", "-B", "-c", program], {
      stdio: ["ignore", stdout, stderr],
      env: { LC_ALL: "C.UTF-8", LEFTOVER: "of the interpreter" },
    });
  } finally {
    closeSync(stdout);
    closeSync(stderr);
  }
}
