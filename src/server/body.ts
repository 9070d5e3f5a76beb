/** Reads a request's body as bytes within the limit, never more into memory than that. */

import { OlError } from "../common/errors.ts";
import { HTTP_DRAIN_MAX_BYTES } from "../common/limits.ts";

/** A body that is not taken: how to say so. */
export interface BodyRefusal {
  readonly error: OlError;
  /** Whether the connection has to go, because the rest of the body is too long to wait for. */
  readonly closeConnection: boolean;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * @param request its body is read to the end, or given up
 * @param maxBytes limit (`max_body_mb`)
 * @returns the bytes, or why they were refused
 */
export async function readBody(
  request: Request,
  maxBytes: number,
): Promise<Uint8Array | BodyRefusal> {
  const announced = request.headers.get("content-length");
  try {
    if (announced === null) return await readChunked(request, maxBytes);
    const lengthBytes = Number(announced);
    if (lengthBytes > maxBytes) return refuse(maxBytes, lengthBytes > HTTP_DRAIN_MAX_BYTES);
    return new Uint8Array(await request.arrayBuffer());
  } catch (cause) {
    const message = "Cannot read the body: the connection ended or stalled before the body did";
    const error = new OlError("cancelled", message, { op: "server.read_body", cause });
    return { error, closeConnection: true };
  }
}

/** Without a length only counting helps: it may be empty, or chunked and endless. */
async function readChunked(request: Request, maxBytes: number): Promise<Uint8Array | BodyRefusal> {
  if (request.body === null) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of request.body) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) return refuse(maxBytes, true);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

function refuse(maxBytes: number, closeConnection: boolean): BodyRefusal {
  const message = `Cannot take the body: it is larger than ${formatSize(maxBytes)}, the limit of this worker (max_body_mb)`;
  return { error: new OlError("body_too_large", message), closeConnection };
}

function formatSize(bytes: number): string {
  if (bytes % MIB === 0) return `${bytes / MIB} MiB`;
  return bytes % KIB === 0 ? `${bytes / KIB} KiB` : `${bytes} bytes`;
}
