/**
 * What `src/server` takes for granted of `Bun.serve`, and the sockets beside it. What the server
 * itself makes of it, such as hosts, bodies, hang-ups and stops, is in `tests/integration/server`.
 */

import { afterEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { errnoNameOf } from "../../../src/common/errors.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { ownProgram, startChild } from "../../unit/sys/child.ts";
import { exchange, RawClient, requestText, statusOf } from "../server/raw-client.ts";

const FAILING_SERVER = import.meta.resolve("./programs/failing-server.ts");

const HOST = "127.0.0.1";

const toStop: (() => unknown)[] = [];

afterEach(async () => {
  for (const stop of toStop.splice(0)) await stop();
});

type Fetch = (request: Request, server: Bun.Server<undefined>) => Response | Promise<Response>;

function serve(fetch: Fetch, options: object = {}): Bun.Server<undefined> & { port: number } {
  const server = Bun.serve({ hostname: HOST, port: 0, ...options, fetch });
  toStop.push(() => server.stop(true));
  return server as Bun.Server<undefined> & { port: number };
}

describe("Bun.serve()", () => {
  test("asks us about bodies of any length only when its own limit is lifted", async () => {
    let asked = 0;
    const answer = (): Response => {
      asked += 1;
      return new Response("ours", { headers: { connection: "close" } });
    };
    const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\nx";
    const limited = await exchange(serve(answer).port, head);
    // No header of ours, no words: why the limit is kept by us.
    expect(limited).toBe("HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\n\r\n");
    expect(asked).toBe(0);
    const lifted = serve(answer, { maxRequestBodySize: Number.MAX_SAFE_INTEGER });
    expect(await exchange(lifted.port, head)).toEndWith("\r\n\r\nours");
    expect(asked).toBe(1);
  });

  test("cuts off a silent handler unless timeout(request, 0) was called for it", async () => {
    const release = Promise.withResolvers<void>();
    let waiting = 0;
    const server = serve(
      async (request, self) => {
        waiting += 1;
        if (new URL(request.url).pathname === "/patient") self.timeout(request, 0);
        await release.promise;
        return new Response("answer");
      },
      { idleTimeout: 1 },
    );
    const patient = await RawClient.open(server.port);
    patient.send("GET /patient HTTP/1.1\r\nHost: a\r\n\r\n");
    await waitFor(() => waiting === 1, "the first one waits");
    const other = await RawClient.open(server.port);
    other.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    // Counted in steps of 4 seconds, so that this takes as long.
    expect(await other.rest()).toBe("");
    release.resolve();
    await patient.until("answer", ({ received }) => received.endsWith("\r\n\r\nanswer"));
  });

  test("says how many requests it has not answered yet", async () => {
    const release = Promise.withResolvers<void>();
    const server = serve(async () => {
      await release.promise;
      return new Response("answer");
    });
    expect(server.pendingRequests).toBe(0);
    const answers = [1, 2, 3].map(() => exchange(server.port, requestText("GET", "/")));
    await waitFor(() => server.pendingRequests === 3, "all three wait");
    release.resolve();
    expect((await Promise.all(answers)).map(statusOf)).toEqual([200, 200, 200]);
    await waitFor(() => server.pendingRequests === 0, "none waits");
  });

  test("closes a connection after an answer that says so", async () => {
    const server = serve(() => new Response("last", { headers: { connection: "close" } }));
    const client = await RawClient.open(server.port);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await client.rest()).toEndWith("\r\n\r\nlast");
  });

  test("tells clients the reason of a failure unless development is off", async () => {
    const answer = async (development: string): Promise<{ status: number; text: string }> => {
      const child = startChild(ownProgram(FAILING_SERVER, development));
      return JSON.parse(await child.stdout.text()) as { status: number; text: string };
    };
    const [off, on] = await Promise.all([answer("off"), answer("on")]);
    expect([off.status, on.status]).toEqual([500, 500]);
    expect(off.text).not.toContain("s3cret");
    expect(on.text).toContain("s3cret");
  });
});

describe("a port that sockets share", () => {
  test("is refused to one that does not share it", () => {
    const { port } = serve(() => new Response(), { reusePort: true });
    const listen = (): unknown => {
      try {
        return Bun.listen({ hostname: HOST, port, socket: { data: () => undefined } }).stop(true);
      } catch (error) {
        return errnoNameOf(error);
      }
    };
    expect(listen()).toBe("EADDRINUSE");
    expect(() => serve(() => new Response(), { port, reusePort: true }).port).not.toThrow();
  });
});

describe("a unix listener", () => {
  test("that stops in its first open() keeps that connection and takes no other", async () => {
    using dir = tempDir();
    const path = dir.join("s");
    const heard: string[] = [];
    const listener: { stop(closeActive: boolean): void } = Bun.listen({
      unix: path,
      socket: {
        open: () => listener.stop(false),
        data: (socket, data) => {
          heard.push(data.toString());
          socket.write("answer");
        },
        close: () => void heard.push("close"),
      },
    });
    const client = await Bun.connect({
      unix: path,
      socket: { data: (_socket, data) => void heard.push(data.toString()) },
    });
    await waitFor(() => !existsSync(path), "the listener is gone");
    const again = Bun.connect({ unix: path, socket: { data: () => undefined } });
    expect(await again.then(() => "connected", errnoNameOf)).toBe("ENOENT");
    client.write("call");
    await waitFor(() => heard.length === 2, "it was answered");
    client.end();
    await waitFor(() => heard.length === 3, "the end is heard of");
    expect(heard).toEqual(["call", "answer", "close"]);
  });
});

describe("node:http", () => {
  const TARGET = "/a/../b//c/./%2e%2e/x?y=%2F&z";

  test("gives the request target as it was sent, which Bun.serve() does not", async () => {
    const server = createServer((request, response) => response.end(request.url));
    const listening = Promise.withResolvers<void>();
    server.listen(0, HOST, listening.resolve);
    await listening.promise;
    toStop.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    expect(await exchange(port, requestText("GET", TARGET))).toEndWith(`\r\n\r\n${TARGET}`);
    const other = serve((request) => new Response(request.url));
    expect(await exchange(other.port, requestText("GET", TARGET))).not.toEndWith(TARGET);
  });
});
