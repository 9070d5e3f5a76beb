import { describe, expect, test } from "bun:test";
import { pingWorker, shownUrl, workerUrl } from "../../../src/cli/worker-client.ts";

describe("workerUrl() and shownUrl()", () => {
  test.each([
    ["127.0.0.1", "http://127.0.0.1:80", "http://localhost:80"],
    ["0.0.0.0", "http://127.0.0.1:80", "http://localhost:80"],
    ["::", "http://[::1]:80", "http://localhost:80"],
    ["localhost", "http://localhost:80", "http://localhost:80"],
    ["10.1.2.3", "http://10.1.2.3:80", "http://10.1.2.3:80"],
    ["fe80::1", "http://[fe80::1]:80", "http://[fe80::1]:80"],
  ])("bind %s is called at %s and shown as %s", (bind, called, shown) => {
    expect(workerUrl({ bind, port: 80 })).toBe(called);
    expect(shownUrl({ bind, port: 80 })).toBe(shown);
  });
});

describe("pingWorker()", () => {
  test("gives status and text of the answer", async () => {
    await using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: ({ url }) =>
        new Response(url.endsWith("/status") ? " ready\n" : "no", { status: 200 }),
    });
    const address = { bind: "127.0.0.1", port: server.port ?? 0 };
    expect(await pingWorker(address)).toEqual({ answered: true, status: 200, text: "ready" });
  });

  test("says that the connection was refused", async () => {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    const { port } = listener;
    listener.stop(true);
    expect(await pingWorker({ bind: "127.0.0.1", port })).toEqual({
      answered: false,
      reason: "connection refused",
    });
  });

  test("gives up on a worker that takes the connection and is silent", async () => {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    try {
      expect(await pingWorker({ bind: "127.0.0.1", port: listener.port }, 50)).toEqual({
        answered: false,
        reason: "no answer within 50 ms",
      });
    } finally {
      listener.stop(true);
    }
  });
});
