/** Reads a request's body as bytes within the limit, never more into memory than that. */

import { OlError } from "../common/errors.ts";
import { HTTP_DRAIN_MAX_BYTES } from "../common/limits.ts";

/** A body that is not taken: how to say so. */
export interface BodyRefusal {
  readonly error: OlError;
  /** Whether the connection has to go, because the rest of the body is too long to wait for. */
  readonly closeConnection: boolean;
}

/** Counts the bodies that a worker holds, so that many large ones cannot take its memory. */
export class BodyBudget {
  readonly #maxBytes: number;
  #heldBytes = 0;

  /** @param maxBytes of all bodies together */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are held now. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * @param bytes more of them
   * @returns whether they fit; a single body always does where nothing else is held
   */
  fits(bytes: number): boolean {
    return this.#heldBytes === 0 || this.#heldBytes + bytes <= this.#maxBytes;
  }

  /**
   * @param bytes more of them
   * @returns whether they fitted and are counted now
   */
  tryTake(bytes: number): boolean {
    if (!this.fits(bytes)) return false;
    this.#heldBytes += bytes;
    return true;
  }

  /** @param bytes that `tryTake` was given and that are held no more */
  give(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}

/** A body within the limits. */
export interface HeldBody {
  readonly bytes: Uint8Array;
  /** What the budget was charged with: to be given back when the call is over. */
  readonly heldBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * @param request its body is read to the end, or given up
 * @param maxBytes limit (`max_body_mb`)
 * @param budget charged with what is read; a refused body is not charged
 * @returns the bytes, or why they were refused
 */
export async function readBody(
  request: Request,
  maxBytes: number,
  budget: BodyBudget,
): Promise<HeldBody | BodyRefusal> {
  const announced = request.headers.get("content-length");
  if (announced === null) return await readChunked(request, maxBytes, budget);
  const lengthBytes = Number(announced);
  const isEndless = lengthBytes > HTTP_DRAIN_MAX_BYTES;
  if (lengthBytes > maxBytes) return tooLarge(maxBytes, isEndless);
  if (!budget.fits(lengthBytes)) return tooMany(isEndless);
  try {
    const bytes = new Uint8Array(await request.arrayBuffer());
    // Charged only now: who announces much and sends nothing must not keep others out.
    return budget.tryTake(bytes.length) ? { bytes, heldBytes: bytes.length } : tooMany(false);
  } catch (cause) {
    return cutOff(cause);
  }
}

/** Without a length only counting helps: it may be empty, or chunked and endless. */
async function readChunked(
  request: Request,
  maxBytes: number,
  budget: BodyBudget,
): Promise<HeldBody | BodyRefusal> {
  if (request.body === null) return { bytes: new Uint8Array(0), heldBytes: 0 };
  const chunks: Uint8Array[] = [];
  let heldBytes = 0;
  let refusal: BodyRefusal | null = null;
  try {
    for await (const chunk of request.body) {
      if (heldBytes + chunk.length > maxBytes) refusal = tooLarge(maxBytes, true);
      else if (!budget.tryTake(chunk.length)) refusal = tooMany(true);
      if (refusal !== null) break;
      heldBytes += chunk.length;
      chunks.push(chunk);
    }
  } catch (cause) {
    refusal = cutOff(cause);
  }
  if (refusal !== null) {
    budget.give(heldBytes);
    return refusal;
  }
  const [only] = chunks;
  const bytes = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
  return { bytes, heldBytes };
}

function cutOff(cause: unknown): BodyRefusal {
  const message = "Cannot read the body: the connection ended or stalled before the body did";
  const error = new OlError("cancelled", message, { op: "server.read_body", cause });
  return { error, closeConnection: true };
}

function tooMany(closeConnection: boolean): BodyRefusal {
  const message = "Cannot take the body: the calls on this worker hold too many bytes already";
  return { error: new OlError("queue_full", message, { retryable: true }), closeConnection };
}

function tooLarge(maxBytes: number, closeConnection: boolean): BodyRefusal {
  const message = `Cannot take the body: it is larger than ${formatSize(maxBytes)}, the limit of this worker (max_body_mb)`;
  return { error: new OlError("body_too_large", message), closeConnection };
}

function formatSize(bytes: number): string {
  if (bytes % MIB === 0) return `${bytes / MIB} MiB`;
  return bytes % KIB === 0 ? `${bytes / KIB} KiB` : `${bytes} bytes`;
}
