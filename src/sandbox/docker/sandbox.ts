/** One lambda instance as a container. */

import type Docker from "dockerode";
import { dockerError, dockerStatus } from "../../base/docker-error.ts";
import { OlError, toOlError } from "../../common/errors.ts";
import { OUTPUT_MAX_BYTES } from "../../common/limits.ts";
import type { GuestConnection, GuestReady } from "../../guest/guest-connection.ts";
import type {
  CallResult,
  Sandbox,
  SandboxLimits,
  SandboxState,
  SandboxUsage,
} from "../contract.ts";
import type { InstanceLogs } from "../instance-logs.ts";
import { explainExit } from "./exit-reason.ts";
import { type FirstProcess, killContainer } from "./first-process.ts";
import { ContainerUsage } from "./usage.ts";

/** What a running container brings to its sandbox. */
export interface DockerSandboxParts {
  readonly id: string;
  readonly container: Docker.Container;
  readonly first: FirstProcess;
  /** Path of the daemon's socket, for messages. */
  readonly daemonSocket: string;
  readonly connection: GuestConnection;
  readonly logs: InstanceLogs;
  readonly limits: SandboxLimits;
  /** Removes the container and all that the sandbox had on the host; does not throw. */
  readonly cleanUp: () => Promise<void>;
}

/** A container with a guest that is connected. */
export class DockerSandbox implements Sandbox {
  readonly id: string;
  readonly origin = "fresh";
  readonly gone: Promise<OlError>;
  readonly #parts: DockerSandboxParts;
  readonly #resolveGone: (error: OlError) => void;
  #state: SandboxState = "ready";
  #importUs = 0;
  /** What Docker was last told; `#state` is what it should be. */
  #isPaused = false;
  #isSettling = false;
  #ending: Promise<void> | null = null;
  #usage: ContainerUsage | null = null;

  /** @param parts all of it belongs to the sandbox from now on */
  constructor(parts: DockerSandboxParts) {
    const { promise, resolve } = Promise.withResolvers<OlError>();
    this.id = parts.id;
    this.gone = promise;
    this.#parts = parts;
    this.#resolveGone = resolve;
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

  /** Bytes of the longer of its output streams. */
  get outputBytes(): number {
    return this.#parts.logs.sizeBytes();
  }

  /** The guest says that the lambda is loaded. */
  onReady({ importUs }: GuestReady): void {
    this.#importUs = importUs;
  }

  /** The guest hung up (null), could not load the lambda, or broke the protocol. */
  onEnd(error: OlError | null): void {
    void this.end(error);
  }

  /** @param pid its first process, for figures and for the day when Docker cannot kill it */
  noteFirst(pid: number): void {
    if (pid <= 0) return;
    this.#parts.first.note(pid);
    this.#usage = new ContainerUsage(pid);
  }

  async call(body: Uint8Array, deadlineMs: number): Promise<CallResult> {
    if (this.#state === "destroyed") throw await this.gone;
    const timer = setTimeout(() => {
      const seconds = this.#parts.limits.runtimeMs / 1000;
      const words = `The lambda ran longer than its limit of ${seconds} s and was ended`;
      void this.end(new OlError("runtime_exceeded", words));
    }, deadlineMs);
    try {
      const result = await this.#parts.connection.call(body);
      // Within the watchdog's interval a call can write more than the bound, and be over.
      if (this.#parts.logs.measure() > 2 * OUTPUT_MAX_BYTES) throw await this.#endFlooded();
      return result;
    } finally {
      clearTimeout(timer);
    }
  }

  async #endFlooded(): Promise<OlError> {
    const words = `The lambda wrote more than ${OUTPUT_MAX_BYTES} bytes of output and was ended`;
    await this.end(new OlError("sandbox_output_limit", words));
    return await this.gone;
  }

  noteCall(requestId: string): void {
    this.#parts.logs.noteCall(requestId);
  }

  pause(): void {
    if (this.#state !== "ready") return;
    this.#state = "paused";
    this.#settle();
  }

  unpause(): void {
    if (this.#state !== "paused") return;
    this.#state = "ready";
    this.#settle();
  }

  async destroy(): Promise<void> {
    await this.end(new OlError("cancelled", "The sandbox was destroyed"));
  }

  usage(): SandboxUsage {
    this.#usage ??= new ContainerUsage(0);
    return this.#usage.read();
  }

  /**
   * Ends it: everything in it is dead before any caller hears of it.
   * @param reason why; null where that is to be found out
   */
  end(reason: OlError | null): Promise<void> {
    this.#ending ??= this.#finish(reason);
    return this.#ending;
  }

  async #finish(reason: OlError | null): Promise<void> {
    this.#state = "destroyed";
    const { container, first, connection, cleanUp } = this.#parts;
    // The last figures, while there still is a cgroup.
    this.#usage?.read();
    const error = reason ?? (await explainExit(container));
    await killContainer(container, first);
    connection.fail(error);
    this.#resolveGone(error);
    await cleanUp();
  }

  /** Brings the container to the state that was last asked for, one request at a time. */
  #settle(): void {
    if (this.#isSettling) return;
    this.#isSettling = true;
    void this.#follow().finally(() => {
      this.#isSettling = false;
    });
  }

  async #follow(): Promise<void> {
    const { container, daemonSocket } = this.#parts;
    for (;;) {
      const wanted = this.#state;
      if (wanted === "destroyed" || (wanted === "paused") === this.#isPaused) return;
      try {
        await (wanted === "paused" ? container.pause() : container.unpause());
      } catch (cause) {
        // A container that ended meanwhile, or is being removed, needs no pause any more.
        if (dockerStatus(cause) !== undefined && this.#isEnding()) return;
        await this.end(toOlError(dockerError(cause, daemonSocket, `make a container ${wanted}`)));
        return;
      }
      this.#isPaused = wanted === "paused";
    }
  }

  #isEnding(): boolean {
    return this.#state === "destroyed";
  }
}

/** Whether a sandbox has printed more than an instance may; the guest stops well before that. */
export const outputIsOver = (sandbox: DockerSandbox): boolean =>
  sandbox.state !== "destroyed" && sandbox.outputBytes > 2 * OUTPUT_MAX_BYTES;
