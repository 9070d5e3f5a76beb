/**
 * Frames between the worker and a guest; the other side is `wire.py`.
 *
 * | offset | type | what |
 * | --- | --- | --- |
 * | 0 | u32 LE | payload length |
 * | 4 | u8 | type |
 * | 5 | u32 LE | call id; 0 where no call is meant |
 * | 9 | bytes | payload |
 *
 * Everything that a guest sends is hostile: lengths are bounded before memory is taken for them.
 */

import { FRAME_MAX_BYTES } from "../common/limits.ts";
import { OlError } from "../common/errors.ts";

/** Bytes before the payload. */
const FRAME_HEADER_BYTES = 9;

/** Types of frames; below 16 from the worker, from 16 on from the guest. */
export const FrameType = {
  ASSIGN: 1,
  CALL: 2,
  READY: 16,
  RESULT: 17,
  EXCEPTION: 18,
  RESULT_INVALID: 19,
  LOAD_FAILED: 20,
  BAD_EVENT: 21,
  SETUP_FAILED: 22,
  /** A forked child has joined its cgroup and its namespaces and waits for its lambda. */
  ENCLOSED: 23,
} as const;

/** One frame that arrived. */
export interface Frame {
  readonly type: number;
  readonly callId: number;
  readonly payload: Uint8Array;
}

/**
 * @param type one of `FrameType`
 * @param callId unsigned 32-bit number
 * @param payload at most `FRAME_MAX_BYTES`
 * @returns header and payload in one buffer
 */
export function encodeFrame(type: number, callId: number, payload: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.byteLength);
  frame.writeUInt32LE(payload.byteLength, 0);
  frame[4] = type;
  frame.writeUInt32LE(callId, 5);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/**
 * @param config the object part
 * @param code the lambda's compiled code, or empty where there is none yet
 * @returns payload of ASSIGN: u32 length of the JSON text, the text, the code
 */
export function encodeAssign(config: object, code: Uint8Array): Uint8Array {
  const text = Buffer.from(JSON.stringify(config));
  const payload = Buffer.allocUnsafe(4 + text.byteLength + code.byteLength);
  payload.writeUInt32LE(text.byteLength, 0);
  payload.set(text, 4);
  payload.set(code, 4 + text.byteLength);
  return payload;
}

function violation(what: string): OlError {
  return new OlError("protocol_violation", `The lambda's process ${what}; it was ended`);
}

const NOTHING = new Uint8Array(0);

/** How much room is made at once for a frame that comes in pieces: it is copied a third more at most. */
const GROWTH = 4;

function unsigned(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

/**
 * Cuts what a guest sends into frames. What it holds of one that is not complete is a copy in one piece,
 * so that a frame sent byte by byte costs no more memory than one sent whole.
 */
export class FrameReader {
  /** Its first `#size` bytes have arrived; the rest is room, which no frame given away shares. */
  #held: Uint8Array = NOTHING;
  #size = 0;
  /** Bytes of the frame that is under way, as far as that is known. */
  #wanted = 0;

  /** Bytes that have arrived of a frame that is not complete. */
  get heldBytes(): number {
    return this.#size;
  }

  /**
   * @param chunk bytes as they arrived; kept, not copied
   * @param firstMax longest payload of the first frame, which may change what is allowed after it; of
   *   others, and by default, `FRAME_MAX_BYTES`
   * @returns the frames that are complete now
   * @throws {OlError} protocol_violation where a length or a type cannot be
   */
  push(chunk: Uint8Array, firstMax: number = FRAME_MAX_BYTES): Frame[] {
    if (this.#size === 0) {
      this.#held = chunk;
      this.#size = chunk.byteLength;
    } else {
      this.#append(chunk);
    }
    const frames: Frame[] = [];
    let start = 0;
    while (this.#size - start >= FRAME_HEADER_BYTES) {
      const held = this.#held;
      const length = unsigned(held, start);
      const payloadMax = frames.length === 0 ? firstMax : FRAME_MAX_BYTES;
      if (length > payloadMax) throw violation(`announced a frame of ${length} bytes`);
      const type = held[start + 4] as number;
      if (type < FrameType.READY || type > FrameType.ENCLOSED) {
        throw violation(`sent a frame of the unknown type ${type}`);
      }
      this.#wanted = FRAME_HEADER_BYTES + length;
      const end = start + this.#wanted;
      if (end > this.#size) break;
      const payload = held.subarray(start + FRAME_HEADER_BYTES, end);
      frames.push({ type, callId: unsigned(held, start + 5), payload });
      start = end;
    }
    if (start > 0) {
      this.#held = this.#held.subarray(start, this.#size);
      this.#size -= start;
    }
    return frames;
  }

  #append(chunk: Uint8Array): void {
    const size = this.#size + chunk.byteLength;
    if (size > this.#held.byteLength) {
      const room = Math.max(size, Math.min(GROWTH * size, this.#wanted));
      const grown = Buffer.allocUnsafeSlow(room);
      grown.set(this.#held.subarray(0, this.#size));
      this.#held = grown;
    }
    this.#held.set(chunk, this.#size);
    this.#size = size;
  }
}
