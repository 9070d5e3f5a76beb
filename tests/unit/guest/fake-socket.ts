/**
 * A socket that takes as many bytes as a test lets it, a connection over it with what it told, the
 * frames that a guest sends.
 */

import { OlError } from "../../../src/common/errors.ts";
import {
  GuestConnection,
  type GuestReady,
  type GuestResult,
  type GuestSocket,
} from "../../../src/guest/guest-connection.ts";
import { encodeFrame, FrameType } from "../../../src/guest/wire.ts";

/** Keeps what was written. */
export class FakeSocket implements GuestSocket {
  /** Bytes that it still takes; what a socket that is closed answers is less than 0. */
  room = Number.POSITIVE_INFINITY;
  ends = 0;
  #sent = Buffer.alloc(0);

  /** Everything that was written, in order. */
  get sent(): Buffer {
    return this.#sent;
  }

  write(data: Uint8Array): number {
    if (this.room < 0) return -1;
    const taken = data.subarray(0, this.room);
    this.room -= taken.byteLength;
    this.#sent = Buffer.concat([this.#sent, taken]);
    return taken.byteLength;
  }

  end(): void {
    this.ends += 1;
  }
}

/** A connection, its socket, and its events in order. */
export interface Heard {
  readonly socket: FakeSocket;
  readonly connection: GuestConnection;
  readonly readies: GuestReady[];
  readonly ends: (OlError | null)[];
  /** Names of the events as they came. */
  readonly order: string[];
}

/**
 * @param phase how far the guest is: its lambda is loaded, or is still to be
 * @returns a connection over a socket of its own, of which nothing was heard yet
 */
export function connect(phase: "ready" | "loading" = "ready"): Heard {
  const socket = new FakeSocket();
  const readies: GuestReady[] = [];
  const ends: (OlError | null)[] = [];
  const order: string[] = [];
  const connection = new GuestConnection(socket, {
    onReady: (one) => {
      readies.push(one);
      order.push("ready");
    },
    onEnd: (error) => {
      ends.push(error);
      order.push("end");
    },
  });
  if (phase === "ready") {
    connection.received(ready("{}"));
    readies.length = 0;
    order.length = 0;
  }
  return { socket, connection, readies, ends, order };
}

/**
 * @param promise of a call
 * @returns the body as text, or the error's code with its message
 */
export async function outcome(promise: Promise<GuestResult>): Promise<string> {
  try {
    return Buffer.from((await promise).body).toString();
  } catch (error) {
    if (error instanceof OlError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

/**
 * @param callId of the call that it answers
 * @param body what the handler returned
 * @param handlerUs what that took
 * @returns a RESULT frame
 */
export function result(callId: number, body: string, handlerUs = 5): Uint8Array {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(handlerUs);
  return encodeFrame(FrameType.RESULT, callId, Buffer.concat([head, Buffer.from(body)]));
}

/**
 * @param head JSON text
 * @param code the lambda's compiled code
 * @param length of the text, as the guest says
 * @returns a READY frame
 */
export function ready(head: string, code = "", length = Buffer.byteLength(head)): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(length);
  const payload = Buffer.concat([bytes, Buffer.from(head), Buffer.from(code)]);
  return encodeFrame(FrameType.READY, 0, payload);
}

/** @returns a frame with words for a payload */
export const text = (type: number, callId: number, words: string): Uint8Array =>
  encodeFrame(type, callId, Buffer.from(words));

/** @returns what a call is given */
export const event = (words: string): Uint8Array => Buffer.from(words);
