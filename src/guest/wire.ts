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

/** Cuts what a guest sends into frames. */
export class FrameReader {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  /**
   * @param chunk bytes as they arrived; kept, not copied
   * @returns the frames that are complete now
   * @throws {OlError} protocol_violation where a length or a type cannot be
   */
  push(chunk: Uint8Array): Frame[] {
    if (chunk.byteLength > 0) {
      this.#chunks.push(chunk);
      this.#bytes += chunk.byteLength;
    }
    const frames: Frame[] = [];
    for (;;) {
      if (this.#bytes < FRAME_HEADER_BYTES) return frames;
      const head = this.#headBytes();
      const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
      const length = view.getUint32(0, true);
      if (length > FRAME_MAX_BYTES) throw violation(`announced a frame of ${length} bytes`);
      const type = head[4] as number;
      if (type < FrameType.READY || type > FrameType.ENCLOSED) {
        throw violation(`sent a frame of the unknown type ${type}`);
      }
      const end = FRAME_HEADER_BYTES + length;
      if (this.#bytes < end) return frames;
      const all = this.#join();
      frames.push({
        type,
        callId: view.getUint32(5, true),
        payload: all.subarray(FRAME_HEADER_BYTES, end),
      });
      this.#chunks = end === all.byteLength ? [] : [all.subarray(end)];
      this.#bytes -= end;
    }
  }

  /** The first chunk, grown until it holds a header. */
  #headBytes(): Uint8Array {
    const first = this.#chunks[0] as Uint8Array;
    return first.byteLength >= FRAME_HEADER_BYTES ? first : this.#join();
  }

  #join(): Uint8Array {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] as Uint8Array;
  }
}
