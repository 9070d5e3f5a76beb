/** Reads a request's body as bytes within the limit, never more into memory than that. */

import { OlError } from "../common/errors.ts";
import { BODY_SMALL_BYTES, HTTP_DRAIN_MAX_BYTES } from "../common/limits.ts";

/** A body that is not taken: how to say so. */
export interface BodyRefusal {
  readonly error: OlError;
  /** Whether the connection has to go, because the rest of the body is too long to wait for. */
  readonly closeConnection: boolean;
}

/**
 * Counts the bodies that a worker holds, so that many large ones cannot take its memory. A lambda may hold as many
 * bytes as are free then: one with many large bodies gets half of all, two get a third each, and the rest is left to
 * others.
 */
export class BodyBudget {
  readonly #maxBytes: number;
  readonly #heldByOwner = new Map<string, number>();
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
   * @param owner the lambda; null for a small body, which only counts with those of all
   * @param bodyBytes what is held already of the same body; default none
   * @returns whether they fit; a single body always does where nothing else is held
   */
  fits(bytes: number, owner: string | null, bodyBytes = 0): boolean {
    if (this.#heldBytes === 0) return true;
    const isAlone = this.#heldBytes === bodyBytes;
    const ownBytes = owner === null || isAlone ? 0 : (this.#heldByOwner.get(owner) ?? 0);
    return ownBytes + bytes <= this.#maxBytes - this.#heldBytes;
  }

  /**
   * @param bytes more of them
   * @param owner as above
   * @param bodyBytes as above
   * @returns whether they fitted and are counted now
   */
  tryTake(bytes: number, owner: string | null, bodyBytes = 0): boolean {
    if (!this.fits(bytes, owner, bodyBytes)) return false;
    this.#heldBytes += bytes;
    if (owner !== null) this.#count(owner, bytes);
    return true;
  }

  /**
   * @param bytes that `tryTake` was given and that are held no more
   * @param owner the same
   */
  give(bytes: number, owner: string | null): void {
    this.#heldBytes -= bytes;
    if (owner !== null) this.#count(owner, -bytes);
  }

  #count(owner: string, bytes: number): void {
    const held = (this.#heldByOwner.get(owner) ?? 0) + bytes;
    if (held === 0) this.#heldByOwner.delete(owner);
    else this.#heldByOwner.set(owner, held);
  }
}

/** A body within the limits. */
export interface HeldBody {
  readonly bytes: Uint8Array;
  /** What the budget was charged with: to be given back when the call is over. */
  readonly heldBytes: number;
  readonly owner: string | null;
}

/** Bounds of bodies. */
export interface BodyLimits {
  /** Limit of one body (`max_body_mb`). */
  readonly maxBytes: number;
  /** Charged with what is read; a refused body is not charged. */
  readonly budget: BodyBudget;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * @param request its body is read to the end, or given up
 * @param limits of one body and of all
 * @param lambda its name
 * @returns the bytes, or why they were refused
 */
export async function readBody(
  request: Request,
  limits: BodyLimits,
  lambda: string,
): Promise<HeldBody | BodyRefusal> {
  const { maxBytes, budget } = limits;
  const announced = request.headers.get("content-length");
  if (announced === null) return await readChunked(request, limits, lambda);
  const lengthBytes = Number(announced);
  const isEndless = lengthBytes > HTTP_DRAIN_MAX_BYTES;
  if (lengthBytes > maxBytes) return tooLarge(maxBytes, isEndless);
  const owner = lengthBytes > BODY_SMALL_BYTES ? lambda : null;
  if (!budget.fits(lengthBytes, owner)) return tooMany(isEndless);
  try {
    const bytes = new Uint8Array(await request.arrayBuffer());
    // Charged only now: who announces much and sends nothing must not keep others out.
    const heldBytes = bytes.length;
    return budget.tryTake(heldBytes, owner) ? { bytes, heldBytes, owner } : tooMany(false);
  } catch (cause) {
    return cutOff(cause);
  }
}

/** Without a length only counting helps: it may be empty, or chunked and endless. */
async function readChunked(
  request: Request,
  { maxBytes, budget }: BodyLimits,
  owner: string,
): Promise<HeldBody | BodyRefusal> {
  if (request.body === null) return { bytes: new Uint8Array(0), heldBytes: 0, owner };
  const chunks: Uint8Array[] = [];
  let heldBytes = 0;
  let refusal: BodyRefusal | null = null;
  try {
    for await (const chunk of request.body) {
      if (heldBytes + chunk.length > maxBytes) refusal = tooLarge(maxBytes, true);
      else if (!budget.tryTake(chunk.length, owner, heldBytes)) refusal = tooMany(true);
      if (refusal !== null) break;
      heldBytes += chunk.length;
      chunks.push(chunk);
    }
  } catch (cause) {
    refusal = cutOff(cause);
  }
  if (refusal !== null) {
    budget.give(heldBytes, owner);
    return refusal;
  }
  const [only] = chunks;
  const bytes = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
  return { bytes, heldBytes, owner };
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
