/** Whether a program could listen at an address: asked before files are written and processes started. */

import { errnoNameOf, OlError } from "../common/errors.ts";
import { usageError } from "./args.ts";

/**
 * @param bind address or name of this machine
 * @param port that is to be free
 * @throws {OlError} usage where the address is none of this machine; port_taken
 */
export function requireFreePort(bind: string, port: number): void {
  try {
    Bun.listen({ hostname: bind, port, socket: { data() {} } }).stop(true);
  } catch (error) {
    const errno = errnoNameOf(error);
    if (errno === "EADDRINUSE") {
      throw new OlError(
        "port_taken",
        `Cannot listen on ${bind}:${port}: port ${port} is in use, wanted a free one (--port)`,
        { op: "cli.listen", cause: error },
      );
    }
    if (errno === "EACCES" || errno === "EPERM") {
      throw usageError(`Cannot use --port=${port}: this user may not listen there (${errno})`);
    }
    const why = errno === "EADDRNOTAVAIL" ? "no address of this machine" : "not an address";
    throw usageError(`Cannot use --bind=${bind}: it is ${why}, wanted such as 127.0.0.1`);
  }
}
