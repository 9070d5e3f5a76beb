/** What an operation answers with; `server.ts` turns it into HTTP. */

import type { ByteRange } from "./conditions.ts";

/** An answer. */
export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** XML or nothing. */
  readonly body?: string;
  /** Data of an object; the server closes the descriptor. */
  readonly file?: { readonly fd: number; readonly range: ByteRange };
}

/**
 * @param document XML
 * @param headers in addition
 * @returns an answer with it
 */
export function xmlReply(document: string, headers: Readonly<Record<string, string>> = {}): Reply {
  return {
    status: 200,
    headers: { "content-type": "application/xml", ...headers },
    body: document,
  };
}
