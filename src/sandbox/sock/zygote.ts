/** One fork server as the worker sees it: what was forked from it, and what became of each child. */

import { OlError } from "../../common/errors.ts";
import { ZYGOTE_REFUSED_MAX_COUNT } from "../../common/zygote-limits.ts";
import { ZygoteLink, type ZygoteEvent } from "./zygote-link.ts";

/** How a forked child ended. */
export interface ChildExit {
  /** `lost`: its zygote died, and it with it; `refused`: it never ran. */
  readonly kind: "exited" | "signalled" | "lost" | "refused";
  /** Exit status or signal number; 0 for the others. */
  readonly value: number;
  /** Why it was refused. */
  readonly message: string;
}

/** Id of the zygote that imports nothing. */
export const ROOT_ZYGOTE_ID = "root";

const NOTHING = (): void => {};

const LOST: ChildExit = { kind: "lost", value: 0, message: "" };

/** A fork server. */
export class Zygote {
  readonly id: string;
  /** Settles when it is gone, and with it everything that was forked from it. */
  readonly gone: Promise<void>;
  /** The worker's descriptor of the control socket is closed by this. */
  #link: ZygoteLink | null = null;
  readonly #children = new Map<string, (exit: ChildExit) => void>();
  /** Requests that it refused: a child that it had forked by then may still end. */
  readonly #refused = new Set<string>();
  readonly #resolveGone: () => void;
  #waiting: {
    kind: string;
    resolve: (event: ZygoteEvent) => void;
    reject: (e: OlError) => void;
  }[] = [];
  #isGone = false;
  #hasDisobeyed = false;

  private constructor(id: string) {
    this.id = id;
    const gone = Promise.withResolvers<void>();
    this.gone = gone.promise;
    this.#resolveGone = gone.resolve;
  }

  /**
   * @param id its name in logs and figures
   * @param fd the worker's end of its control socket; closed with it
   * @returns the zygote, not ready yet: see `expect`
   */
  static async open(id: string, fd: number): Promise<Zygote> {
    const zygote = new Zygote(id);
    zygote.#link = await ZygoteLink.open(fd, {
      onEvent: (event) => {
        zygote.#onEvent(event);
      },
      onEnd: () => {
        zygote.#onEnd();
      },
    });
    return zygote;
  }

  /** Whether only our own code runs in it. */
  get isTrusted(): boolean {
    return this.id === ROOT_ZYGOTE_ID;
  }

  /**
   * Whether it is asked to end its children: foreign code in it may have other plans, and each time that a worker
   * waits for it in vain holds up whoever needs the memory.
   */
  get isObedient(): boolean {
    return this.isTrusted || !this.#hasDisobeyed;
  }

  /** Notes that a child did not end when it was asked for that. */
  noteDisobedience(): void {
    this.#hasDisobeyed = true;
  }

  /** Whether it can fork. */
  get isAlive(): boolean {
    return !this.#isGone;
  }

  /**
   * Waits for something that it says about itself.
   * @param kind the event
   * @param timeoutMs bound
   * @throws {OlError} sandbox_create where it fails, dies or takes too long
   */
  async expect(kind: "unmapped" | "ready", timeoutMs: number): Promise<ZygoteEvent> {
    if (this.#isGone) throw this.#failure("it ended");
    const { promise, resolve, reject } = Promise.withResolvers<ZygoteEvent>();
    this.#waiting.push({ kind, resolve, reject });
    const timer = setTimeout(() => {
      reject(this.#failure(`it was not ${kind} within ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tells a zygote that waits for it that its user ids are mapped. */
  tellMapped(): void {
    this.#requireLink().sendRaw(Buffer.from("mapped"));
  }

  /**
   * Asks for a child.
   * @param request operation and its fields; `id` names the child
   * @param fds what it gets
   * @param sent called when the caller may close them
   * @param onExit called once, when the child is gone
   */
  fork(
    request: { readonly op: string; readonly id: string },
    fds: readonly number[],
    sent: () => void,
    onExit: (exit: ChildExit) => void,
  ): void {
    if (this.#isGone) {
      sent();
      onExit(LOST);
      return;
    }
    this.#children.set(request.id, onExit);
    try {
      this.#requireLink().send(request, fds, sent, (error) => {
        if (!this.#children.delete(request.id)) return;
        onExit({ kind: "refused", value: 0, message: String(error) });
      });
    } catch (error) {
      this.#children.delete(request.id);
      throw error;
    }
  }

  /**
   * Asks it to kill a child, which ends all others in the child's pid namespace too. Does not throw: whoever
   * asks looks whether it helped.
   * @param id of a child
   */
  kill(id: string): void {
    if (this.#link === null || !this.#children.has(id)) return;
    try {
      this.#link.send({ op: "kill", id }, [], NOTHING, NOTHING);
    } catch {
      // It is gone, or has more to do than it takes.
    }
  }

  /** Ends it and everything below it; `gone` tells when. */
  close(): void {
    this.#link?.close();
  }

  #requireLink(): ZygoteLink {
    if (this.#link === null) throw this.#failure("it is not connected");
    return this.#link;
  }

  #failure(what: string): OlError {
    return new OlError("sandbox_create", `Cannot use the zygote ${this.id}: ${what}`);
  }

  #onEvent(event: ZygoteEvent): void {
    if (event.id === "self") {
      this.#settleWaiting(event);
      return;
    }
    const onExit = this.#children.get(event.id);
    if (onExit === undefined) {
      if (!this.#refused.delete(event.id)) this.#onNonsense();
      return;
    }
    this.#children.delete(event.id);
    if (event.event === "failed") this.#rememberRefused(event.id);
    onExit(exitOf(event));
  }

  #rememberRefused(id: string): void {
    this.#refused.add(id);
    if (this.#refused.size <= ZYGOTE_REFUSED_MAX_COUNT) return;
    const oldest = this.#refused.keys().next();
    if (!oldest.done) this.#refused.delete(oldest.value);
  }

  /** Foreign code that talks of what was never asked for would keep the worker busy with it. */
  #onNonsense(): void {
    if (!this.isTrusted) this.close();
  }

  #settleWaiting(event: ZygoteEvent): void {
    const matches = this.#waiting.filter((w) => event.event === "failed" || w.kind === event.event);
    if (matches.length === 0) this.#onNonsense();
    this.#waiting = this.#waiting.filter((w) => !matches.includes(w));
    for (const waiting of matches) {
      if (event.event !== "failed") waiting.resolve(event);
      else waiting.reject(this.#failure(event.message ?? "it failed"));
    }
  }

  #onEnd(): void {
    this.#isGone = true;
    for (const waiting of this.#waiting) waiting.reject(this.#failure("it ended"));
    this.#waiting = [];
    const children = [...this.#children.values()];
    this.#children.clear();
    for (const onExit of children) onExit(LOST);
    this.#resolveGone();
  }
}

function exitOf(event: ZygoteEvent): ChildExit {
  if (event.event === "failed") {
    return { kind: "refused", value: 0, message: event.message ?? "" };
  }
  const signal = event.signal ?? 0;
  return signal > 0
    ? { kind: "signalled", value: signal, message: "" }
    : { kind: "exited", value: event.code ?? 0, message: "" };
}
