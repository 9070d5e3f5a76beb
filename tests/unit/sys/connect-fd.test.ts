/** The runtime's sockets over descriptors of ours; what the design needs is in the probes. */

import { describe, expect, test } from "bun:test";
import { closeSync, existsSync, readSync, writeSync } from "node:fs";

import { connectFd } from "../../../src/sys/connect-fd.ts";
import { SOCK_STREAM } from "../../../src/sys/constants.ts";
import { socketPair } from "../../../src/sys/socket.ts";
import { waitFor } from "../../helpers/wait-for.ts";

describe("connectFd()", () => {
  test("reads and writes over the descriptor and closes it", async () => {
    const [own, theirs] = socketPair(SOCK_STREAM);
    let received = "";
    const socket = await connectFd(own, {
      data: (_socket, data) => {
        received += data.toString();
      },
    });
    writeSync(theirs, "to us");
    expect(socket.write("to them")).toBe(7);
    const buffer = Buffer.alloc(20);
    expect(buffer.toString("utf8", 0, readSync(theirs, buffer))).toBe("to them");
    await waitFor(() => received === "to us", "the bytes arrive");
    socket.end();
    await waitFor(() => !existsSync(`/proc/self/fd/${own}`), "the descriptor is closed");
    expect(readSync(theirs, buffer)).toBe(0);
    closeSync(theirs);
  });

  test("rejects when the descriptor is not open", async () => {
    const error: unknown = await connectFd(1_000_000, { data: () => undefined }).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(Error);
  });
});
