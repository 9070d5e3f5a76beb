/** Requests as bytes, and what comes back. */

import * as fc from "fast-check";
import { connect } from "node:net";

const SILENCE_MS = 3_000;

/**
 * @param condition that must hold
 * @param what the finding where it does not
 */
export function demand(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/**
 * Sends bytes.
 * @param port of the peer
 * @param request as it goes over the wire
 * @returns what comes back until the peer closes or is silent
 */
export function exchange(port: number, request: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port });
    const done = (): void => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(SILENCE_MS, done);
    socket.on("error", done);
    socket.on("close", done);
    socket.on("data", (data) => {
      text += data.toString("latin1");
    });
    socket.write(request);
  });
}

/**
 * @param answer of `exchange`
 * @returns its status, 0 where there is none
 */
export const statusOf = (answer: string): number =>
  Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 0);

/** Methods that HTTP has, and one that it has not. */
export const method = fc.constantFrom(
  "GET",
  "POST",
  "PUT",
  "HEAD",
  "OPTIONS",
  "DELETE",
  "PATCH",
  "BREW",
);
const piece = fc.oneof(
  fc.constantFrom("run", "runLambda", "status", "echo", "..", ".", "%2e%2e", "%2f", "%00", "%", ""),
  fc.constantFrom("%ff", "%c0%ae", "?a=b", "#x", "\\", "*", "//", "http://example.org/run/echo"),
  fc.string({ maxLength: 20 }),
  fc.string({ maxLength: 200, unit: "binary-ascii" }),
);
/** Paths that mean something, nothing, or something else. */
export const httpPath = fc.array(piece, { maxLength: 5 }).map((parts) => `/${parts.join("/")}`);
