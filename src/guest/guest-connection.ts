/**
 * The worker's end of one guest: calls in, answers out, over a socket that an engine provides.
 * Knows nothing of how the guest is isolated, so that every engine shares it.
 */

import { OlError } from "../common/errors.ts";
import { FRAME_MAX_BYTES, GUEST_MESSAGE_MAX_CHARS } from "../common/limits.ts";
import { encodeFrame, type Frame, FrameReader, FrameType } from "./wire.ts";

/** What the guest said when the lambda was loaded. */
export interface GuestReady {
  readonly importUs: number;
  /** The lambda's compiled code where this guest compiled it, else empty. Only for this lambda. */
  readonly code: Uint8Array;
}

/** The handler's answer. */
export interface GuestResult {
  readonly body: Uint8Array;
  readonly handlerUs: number;
}

/** What an engine wants to hear. */
export interface GuestEvents {
  /** It waits for its lambda; left out by an engine whose guests do not say so. Comes once. */
  onEnclosed?(): void;
  /** The lambda is loaded. */
  onReady(ready: GuestReady): void;
  /** The stream ended, or the guest broke the protocol (then with an error); comes once. */
  onEnd(error: OlError | null): void;
}

/** The part of a Bun socket that is used here. */
export interface GuestSocket {
  write(data: Uint8Array): number;
  end(): void;
  terminate?(): void;
}

interface PendingCall {
  resolve(result: GuestResult): void;
  reject(error: OlError): void;
}

/**
 * How far a guest is, which decides what it may say.
 *
 * | phase | frames |
 * | --- | --- |
 * | `waiting`, until it is enclosed | ENCLOSED, SETUP_FAILED |
 * | `loading` | READY, LOAD_FAILED, SETUP_FAILED |
 * | `ready` | one answer to each call |
 */
type Phase = "waiting" | "loading" | "ready";

const decoder = new TextDecoder();

/** Longest frame of a guest that is not enclosed yet: a message, in UTF-8. */
const EARLY_FRAME_MAX_BYTES = 4 * GUEST_MESSAGE_MAX_CHARS;

function outOfTurn(): OlError {
  const message = "The lambda's process sent a message out of turn; it was ended";
  return new OlError("protocol_violation", message);
}

function guestText(payload: Uint8Array): string {
  return decoder.decode(payload.subarray(0, GUEST_MESSAGE_MAX_CHARS));
}

/** One guest's frames; feed it with `received`, `writable` and `closed` from the socket's events. */
export class GuestConnection {
  readonly #socket: GuestSocket;
  readonly #events: GuestEvents;
  readonly #reader = new FrameReader();
  readonly #pending = new Map<number, PendingCall>();
  #unsent: Uint8Array[] = [];
  #nextCall = 1;
  #loadError: OlError | null = null;
  #ended = false;
  #phase: Phase;

  /**
   * @param socket an open stream socket
   * @param events who hears of loading and of the end
   * @param isWaiting whether the guest says ENCLOSED first, before which only trusted code speaks
   */
  constructor(socket: GuestSocket, events: GuestEvents, isWaiting = false) {
    this.#socket = socket;
    this.#events = events;
    this.#phase = isWaiting ? "waiting" : "loading";
  }

  /** Calls that wait for their answer. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /** Why the lambda could not be loaded, once the guest has said so. */
  get loadError(): OlError | null {
    return this.#loadError;
  }

  /**
   * @param event JSON text in UTF-8, passed on as it is
   * @returns the handler's answer
   * @throws {OlError} bad_request, lambda_exception, lambda_result_invalid, lambda_load; or
   *   what `fail` is given
   */
  call(event: Uint8Array): Promise<GuestResult> {
    if (this.#loadError !== null) return Promise.reject(this.#loadError);
    const { promise, resolve, reject } = Promise.withResolvers<GuestResult>();
    const id = this.#nextCall;
    this.#nextCall = (id + 1) >>> 0 || 1;
    this.#pending.set(id, { resolve, reject });
    this.send(encodeFrame(FrameType.CALL, id, event));
    return promise;
  }

  /** Sends bytes in order; what the socket does not take now goes out when it is writable. */
  send(bytes: Uint8Array): void {
    if (this.#ended) return;
    if (this.#unsent.length > 0) {
      this.#unsent.push(bytes);
      return;
    }
    const sent = Math.max(0, this.#socket.write(bytes));
    if (sent < bytes.byteLength) this.#unsent.push(bytes.subarray(sent));
  }

  /** The socket takes bytes again. */
  writable(): void {
    const waiting = this.#unsent;
    this.#unsent = [];
    for (const bytes of waiting) this.send(bytes);
  }

  /** @param chunk what arrived; it is kept */
  received(chunk: Uint8Array): void {
    if (this.#ended) return;
    try {
      // With the first frame that wait is over, or so is the guest: others may follow in one piece.
      const firstMax = this.#phase === "waiting" ? EARLY_FRAME_MAX_BYTES : FRAME_MAX_BYTES;
      for (const frame of this.#reader.push(chunk, firstMax)) this.#handle(frame);
      // Nobody asked for anything: it would only make the worker hold what it sends.
      const isAsked = this.#phase !== "ready" || this.#pending.size > 0;
      if (!isAsked && this.#reader.heldBytes > 0) throw outOfTurn();
    } catch (error) {
      if (!(error instanceof OlError)) throw error;
      this.#end(error);
    }
  }

  /** The socket is closed. */
  closed(): void {
    this.#end(null);
  }

  /**
   * Ends every call that waits.
   * @param error what their callers are told
   */
  fail(error: OlError): void {
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    for (const call of waiting) call.reject(error);
  }

  #end(error: OlError | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unsent = [];
    this.#socket.end();
    this.#events.onEnd(error);
  }

  #handle(frame: Frame): void {
    if (this.#ended) return;
    if (this.#phase === "ready") this.#answered(frame);
    else if (frame.type === FrameType.SETUP_FAILED) this.#setUpFailed(frame.payload);
    else if (this.#phase === "waiting") this.#enclosed(frame);
    else if (frame.type === FrameType.READY) this.#ready(frame.payload);
    else if (frame.type === FrameType.LOAD_FAILED) this.#loadFailed(frame.payload);
    else throw outOfTurn();
  }

  #loadFailed(payload: Uint8Array): void {
    this.#endLoading(new OlError("lambda_load", guestText(payload).trimEnd()));
  }

  /** Once it is enclosed, its lambda may be the one who says so: it is no word about the worker then. */
  #setUpFailed(payload: Uint8Array): void {
    const text = guestText(payload).trimEnd();
    const error =
      this.#phase === "waiting"
        ? new OlError("sandbox_create", text)
        : new OlError("sandbox_died", `The lambda's process could not be set up: ${text}`);
    this.#endLoading(error);
  }

  #endLoading(error: OlError): void {
    this.#loadError = error;
    this.fail(error);
    this.#end(error);
  }

  #answered(frame: Frame): void {
    if (frame.type < FrameType.RESULT || frame.type > FrameType.BAD_EVENT) throw outOfTurn();
    const call = this.#pending.get(frame.callId);
    if (call === undefined) {
      throw new OlError(
        "protocol_violation",
        `The lambda's process answered a call that it was not given; it was ended`,
      );
    }
    this.#pending.delete(frame.callId);
    answer(call, frame);
  }

  #enclosed(frame: Frame): void {
    if (frame.type !== FrameType.ENCLOSED) throw outOfTurn();
    this.#phase = "loading";
    this.#events.onEnclosed?.();
  }

  #ready(payload: Uint8Array): void {
    this.#phase = "ready";
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const length = payload.byteLength >= 4 ? view.getUint32(0, true) : payload.byteLength;
    let importUs = 0;
    try {
      const head: unknown = JSON.parse(decoder.decode(payload.subarray(4, 4 + length)));
      const value = (head as { importUs?: unknown } | null)?.importUs;
      if (typeof value === "number" && value >= 0) importUs = value;
    } catch (cause) {
      throw new OlError("protocol_violation", "The lambda's process sent a broken ready message", {
        cause,
      });
    }
    // A copy, because it is kept: `slice` of a Buffer would keep all that came with it.
    this.#events.onReady({ importUs, code: new Uint8Array(payload.subarray(4 + length)) });
  }
}

function answer(call: PendingCall, frame: Frame): void {
  const { payload } = frame;
  if (frame.type === FrameType.RESULT && payload.byteLength >= 4) {
    const view = new DataView(payload.buffer, payload.byteOffset, 4);
    call.resolve({ handlerUs: view.getUint32(0, true), body: payload.subarray(4) });
  } else if (frame.type === FrameType.EXCEPTION) {
    call.reject(new OlError("lambda_exception", guestText(payload).trimEnd()));
  } else if (frame.type === FrameType.RESULT_INVALID) {
    call.reject(new OlError("lambda_result_invalid", guestText(payload)));
  } else if (frame.type === FrameType.BAD_EVENT) {
    call.reject(new OlError("bad_request", `bad POST data: ${guestText(payload)}`));
  } else {
    const error = new OlError("protocol_violation", "The lambda's process sent a broken answer");
    call.reject(error);
    throw error;
  }
}
