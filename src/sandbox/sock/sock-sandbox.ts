/** A sandbox of the SOCK engine: a guest process that was given a lambda. */

import { OlError, toOlError } from "../../common/errors.ts";
import { OUTPUT_MAX_BYTES } from "../../common/limits.ts";
import type { GuestReady } from "../../guest/guest-connection.ts";
import type {
  CallResult,
  Sandbox,
  SandboxOrigin,
  SandboxSpec,
  SandboxState,
  SandboxUsage,
} from "../contract.ts";
import type { InstanceLogs, InstanceLogStore } from "../instance-logs.ts";
import { explainEnd } from "./explain-end.ts";
import type { GuestProcess } from "./guest-process.ts";

/** What a sandbox needs from its engine. */
export interface SockSandboxParts {
  readonly guest: GuestProcess;
  readonly origin: SandboxOrigin;
  readonly logs: InstanceLogs;
  readonly logStore: InstanceLogStore;
  /** Compiled code of the lambda from an earlier sandbox, or empty. */
  readonly code: Uint8Array;
  /** Gets the code that this sandbox compiled. */
  readonly onCode: (code: Uint8Array) => void;
  /** Called once, when nothing of it is left. */
  readonly onRemoved: () => void;
  /** Told of failures in the background. */
  readonly onError: (error: unknown) => void;
}

/** One isolated process group that serves one lambda version. */
export class SockSandbox implements Sandbox {
  readonly id: string;
  readonly origin: SandboxOrigin;
  readonly gone: Promise<OlError>;
  readonly #parts: SockSandboxParts;
  readonly #guest: GuestProcess;
  readonly #limits: SandboxSpec["limits"];
  readonly #resolveGone: (error: OlError) => void;
  #state: SandboxState = "ready";
  #importUs = 0;
  #reason: OlError | null = null;
  #ending: Promise<void> | null = null;

  /**
   * @param spec what it runs
   * @param parts the guest, assigned by this constructor
   * @throws {SyscallError} where the guest cannot be assigned; the caller removes it then
   */
  constructor(spec: SandboxSpec, parts: SockSandboxParts) {
    this.id = parts.guest.id;
    this.origin = parts.origin;
    this.#parts = parts;
    this.#guest = parts.guest;
    this.#limits = spec.limits;
    void this.#watchExit();
    const gone = Promise.withResolvers<OlError>();
    this.gone = gone.promise;
    this.#resolveGone = gone.resolve;
    parts.guest.assign(
      {
        codeDir: spec.codeDir,
        stdoutFd: parts.logs.stdoutFd,
        stderrFd: parts.logs.stderrFd,
        code: parts.code,
        config: {
          env: spec.env,
          packages: spec.packages.map(({ dir }) => `/packages/${dir}`),
          concurrency: spec.concurrency,
          fileMaxBytes: spec.limits.scratchMaxBytes,
          processesMax: spec.limits.processesMax,
        },
      },
      {
        onReady: (ready) => {
          this.#onReady(ready);
        },
        onEnd: (error) => {
          void this.#end(error);
        },
      },
    );
  }

  /** One that is frozen does not notice that its zygote ended: version 1 keeps it from dying of that. */
  async #watchExit(): Promise<void> {
    await this.#guest.exited;
    if (this.#state === "paused") void this.#end(null);
  }

  get state(): SandboxState {
    return this.#state;
  }

  get importUs(): number {
    return this.#importUs;
  }

  get isLogFull(): boolean {
    return this.#parts.logs.isFull;
  }

  async call(body: Uint8Array, deadlineMs: number): Promise<CallResult> {
    if (this.#reason !== null) throw this.#reason;
    const timer = setTimeout(() => {
      const seconds = this.#limits.runtimeMs / 1000;
      const message = `The lambda ran longer than its limit of ${seconds} s and was ended`;
      const details = this.#guest.costs();
      void this.#end(new OlError("runtime_exceeded", message, { details }));
    }, deadlineMs);
    try {
      const result = await this.#guest.connection.call(body);
      this.#requireBoundedOutput();
      return result;
    } catch (error) {
      this.#requireBoundedOutput();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  noteCall(requestId: string): void {
    this.#parts.logs.noteCall(requestId);
  }

  pause(): void {
    if (this.#state !== "ready") return;
    this.#guest.cgroup.freeze();
    this.#state = "paused";
  }

  unpause(): void {
    if (this.#state !== "paused") return;
    this.#guest.cgroup.thaw();
    this.#state = "ready";
  }

  async destroy(): Promise<void> {
    await this.#end(new OlError("cancelled", "The sandbox was destroyed"));
  }

  usage(): SandboxUsage {
    return this.#guest.usage();
  }

  /** Ends it where it has printed more than an instance may; for the engine's watchdog. */
  checkOutput(): void {
    if (this.#state === "ready") this.#endIfFlooded(this.#parts.logs.sizeBytes());
  }

  /** Within the watchdog's interval a call can write more than the bound, and be over. */
  #requireBoundedOutput(): void {
    if (this.#state === "destroyed") return;
    this.#endIfFlooded(this.#parts.logs.measure());
    if (this.#reason !== null) throw this.#reason;
  }

  #endIfFlooded(bytes: number): void {
    if (bytes <= 2 * OUTPUT_MAX_BYTES) return;
    const message = `The lambda wrote more than ${OUTPUT_MAX_BYTES} bytes of output and was ended`;
    void this.#end(new OlError("sandbox_output_limit", message));
  }

  #onReady(ready: GuestReady): void {
    this.#importUs = ready.importUs;
    if (ready.code.byteLength > 0) this.#parts.onCode(ready.code);
  }

  #end(reason: OlError | null): Promise<void> {
    if (this.#ending !== null) return this.#ending;
    // Set before anything is done: ending the guest ends its stream, which comes back here.
    const ended = Promise.withResolvers<void>();
    this.#ending = ended.promise;
    this.#finish(reason).then(ended.resolve, ended.reject);
    return this.#ending;
  }

  async #finish(reason: OlError | null): Promise<void> {
    const isFrozen = this.#state === "paused";
    this.#state = "destroyed";
    const guest = this.#guest;
    // Where the stream just ended, its end is explained before the cgroup forgets; else it is
    // killed first and nobody asks it anything more.
    this.#reason =
      reason ?? (await explainEnd(guest, this.#limits.memoryMaxBytes).catch(toOlError));
    guest.connection.fail(this.#reason);
    this.#resolveGone(this.#reason);
    const isEmpty = await guest.remove(isFrozen);
    // A process that the host has not killed yet still has the files, and must not print into another
    // lambda's: they stay open until it is gone. Nobody has to wait for that.
    if (isEmpty) this.#closeLogs();
    else void guest.emptied.then(() => this.#closeLogs());
    this.#parts.onRemoved();
  }
  #closeLogs(): void {
    try {
      this.#parts.logStore.close(this.#parts.logs, OUTPUT_MAX_BYTES);
    } catch (error) {
      // A directory of output that stays behind is no reason to keep the sandbox on the books.
      this.#parts.onError(error);
    }
  }
}
