/** FAULTS C: what a network may send, byte for byte, and the exact status each gets. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { BODY_MAX_BYTES, type Harness, startHarness } from "./harness.ts";
import { exchange, RawClient, requestText, statusOf } from "./raw-client.ts";

let harness: Harness;

beforeAll(async () => {
  harness = await startHarness();
});
afterAll(() => harness.stop());

// Whatever came before, the next ordinary call is answered.
afterEach(async () => {
  const answer = await fetch(`${harness.url}/run/echo`, { method: "POST", body: '"next"' });
  expect([answer.status, await answer.text()]).toEqual([200, '"next"']);
});

const post = (path: string, headers: string[] = ["Content-Length: 1"], body = "1"): string =>
  requestText("POST", path, headers, body);

describe("paths and names", () => {
  const cases: [what: string, path: string, status: number][] = [
    ["an encoded traversal", "/run/%2e%2e%2fstatus", 404],
    ["an upper-case encoded traversal", "/run/%2E%2E%2Fecho", 404],
    ["a doubly encoded traversal", "/run/%252e%252e%252fstatus", 404],
    ["dot dot", "/run/..", 404],
    ["an encoded dot dot", "/run/%2e%2e", 404],
    ["dot", "/run/.", 404],
    ["a traversal to another route", "/run/../status", 405],
    ["a traversal back to the lambda", "/run/x/../echo", 200],
    ["an absolute name", "/run/%2fetc%2fpasswd", 404],
    ["a double slash", "//run/echo", 404],
    ["a name of 1,000 characters", `/run/${"a".repeat(1000)}`, 404],
    ["a name of 129 characters", `/run/${"a".repeat(129)}`, 404],
    ["an encoded NUL", "/run/a%00b", 404],
    ["encoded CR LF", "/run/a%0d%0aX-Injected:%20yes", 404],
    ["a broken escape", "/run/a%zz", 404],
    ["encoded non-ASCII", "/run/%c3%a9", 404],
    ["raw non-ASCII bytes", "/run/\xc3\xa9", 404],
    ["a space", "/run/a%20b", 404],
    ["an encoded name of a lambda", "/run/%65cho", 200],
    ["a query", "/run/echo?x=/../..", 200],
    ["__proto__", "/run/__proto__", 404],
    ["constructor", "/run/constructor", 404],
    ["a raw NUL", "/run/a\0b", 505],
    ["a raw space", "/run/a b", 505],
    ["no leading slash", "run/echo", 400],
    ["an absolute URL of another host", "http://evil.example/run/echo", 200],
  ];
  for (const [what, path, status] of cases) {
    test(`${what} answers ${status}`, async () => {
      const answer = await exchange(harness.port, post(path));
      expect(statusOf(answer)).toBe(status);
      expect(answer.toLowerCase()).not.toContain("\r\nx-injected");
      if (status === 404) expect(answer).toMatch(/x-ol-error: (lambda|route)_/i);
    });
  }

  test("10,000 unknown names answer 404 each and none reaches a table of the server", async () => {
    const names = Array.from({ length: 10_000 }, (_, n) => `unknown-${n}`);
    for (let at = 0; at < names.length; at += 100) {
      const some = names.slice(at, at + 100);
      const answers = await Promise.all(
        some.map((name) => fetch(`${harness.url}/run/${name}`, { method: "POST", body: "1" })),
      );
      expect(answers.every((answer) => answer.status === 404)).toBe(true);
      await Promise.all(answers.map((answer) => answer.text()));
    }
    harness.service.requests.length = 0;
  });
});

describe("hosts", () => {
  const cases: [host: string, status: number][] = [
    ["localhost", 200],
    ["a", 200],
    ["127.0.0.1:8080", 200],
    ["[::1]:8080", 200],
    ["a/b", 400],
    ["a/status?", 400],
    ["user@a", 400],
    ["a b", 400],
    ["a:port", 400],
    ["", 400],
  ];
  for (const [host, status] of cases) {
    test(`Host ${JSON.stringify(host)} answers ${status} and shifts no path`, async () => {
      const text = `GET /status HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      expect(statusOf(await exchange(harness.port, text))).toBe(status);
      const shifted = text.replace("/status", "/abcdef/status");
      expect(statusOf(await exchange(harness.port, shifted))).toBe(status === 200 ? 404 : 400);
    });
  }

  test("no Host answers 400", async () => {
    expect(statusOf(await exchange(harness.port, "GET /status HTTP/1.1\r\n\r\n"))).toBe(400);
  });
});

describe("framing", () => {
  const big = "x".repeat(20_000);
  const cases: [what: string, text: string, status: number][] = [
    ["a missing content-length", post("/run/echo", [], ""), 200],
    ["a zero-length body", post("/run/echo", ["Content-Length: 0"], ""), 200],
    ["a content-length that is no number", post("/run/echo", ["Content-Length: 1a"]), 400],
    ["a negative content-length", post("/run/echo", ["Content-Length: -1"]), 400],
    ["two content-lengths", post("/run/echo", ["Content-Length: 1", "Content-Length: 2"]), 400],
    [
      "content-length with chunked",
      post("/run/echo", ["Content-Length: 1", "Transfer-Encoding: chunked"], "1\r\n1\r\n0\r\n\r\n"),
      400,
    ],
    [
      "chunked",
      post("/run/echo", ["Transfer-Encoding: chunked"], "1\r\n[\r\n1\r\n]\r\n0\r\n\r\n"),
      200,
    ],
    ["chunked without data", post("/run/echo", ["Transfer-Encoding: chunked"], "0\r\n\r\n"), 200],
    ["a broken chunk size", post("/run/echo", ["Transfer-Encoding: chunked"], "zz\r\n1\r\n"), 400],
    ["an unknown transfer encoding", post("/run/echo", ["Transfer-Encoding: gzip"], "1"), 400],
    ["a header of 20 KB", requestText("GET", "/status", [`X-Big: ${big}`]), 431],
    ["a path of 20 KB", requestText("GET", `/${big}`), 431],
    ["500 headers", requestText("GET", "/status", Array(500).fill("X-Many: 1")), 431],
    ["the same header twice", requestText("GET", "/status", ["X-Twice: 1", "X-Twice: 2"]), 200],
    ["bare line feeds", "GET /status HTTP/1.1\nHost: a\n\n", 505],
    ["a TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400],
    ["the target *", requestText("OPTIONS", "*"), 400],
    [
      "a compressed body",
      post("/run/echo", ["Content-Encoding: gzip", "Content-Length: 3"], "\x1f\x8b\x08"),
      400,
    ],
  ];
  for (const [what, text, status] of cases) {
    test(`${what} answers ${status}`, async () => {
      expect(statusOf(await exchange(harness.port, text))).toBe(status);
    });
  }

  test("the runs of one chunked body arrive as one event", async () => {
    const chunks = "2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n";
    const answer = await exchange(
      harness.port,
      post("/run/echo", ["Transfer-Encoding: chunked"], chunks),
    );
    expect(answer.slice(answer.indexOf("\r\n\r\n"))).toContain("[1,2]");
  });

  test("Expect: 100-continue is invited and answered", async () => {
    const client = await RawClient.open(harness.port);
    client.send(post("/run/echo", ["Content-Length: 2", "Expect: 100-continue"], ""));
    await client.until("invitation", ({ received }) => received.includes("100 Continue\r\n\r\n"));
    client.send("42");
    const answer = await client.rest();
    expect(answer.split("100 Continue\r\n\r\n")[1]).toStartWith("HTTP/1.1 200 OK");
  });

  test("pipelined requests are answered in order", async () => {
    const client = await RawClient.open(harness.port);
    const one = (n: number): string =>
      `POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Request-Id: p${n}\r\n\r\n10${n}`;
    client.send([0, 1, 2, 3, 4].map(one).join("") + requestText("GET", "/status"));
    const answer = await client.rest();
    const order = [...answer.matchAll(/x-request-id: (p\d)/gi)].map((match) => match[1]);
    expect(order).toEqual(["p0", "p1", "p2", "p3", "p4"]);
    expect(answer.trimEnd()).toEndWith("ready");
  });

  test("a second request smuggled behind a short content-length is its own request", async () => {
    const inner = requestText("GET", "/status");
    const text = `POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1${inner}`;
    const answer = await exchange(harness.port, text);
    expect([...answer.matchAll(/HTTP\/1\.1 200/g)].length).toBe(2);
  });
});

describe("methods", () => {
  for (const method of ["TRACE", "PROPFIND", "MKCOL", "LOCK", "PURGE"]) {
    test(`${method} answers 405`, async () => {
      const answer = await exchange(harness.port, requestText(method, "/run/echo"));
      expect(statusOf(answer)).toBe(405);
      expect(answer).toMatch(/allow: POST, OPTIONS/i);
    });
  }

  test("CONNECT opens nothing", async () => {
    const answer = await exchange(harness.port, requestText("CONNECT", "localhost:80"));
    expect(statusOf(answer)).toBe(404);
  });

  test("a method that HTTP does not know closes the connection", async () => {
    expect(statusOf(await exchange(harness.port, requestText("BREW", "/run/echo")))).toBe(0);
  });

  test("HEAD of a run does not run the lambda", async () => {
    const before = harness.service.requests.length;
    const answer = await exchange(harness.port, requestText("HEAD", "/run/echo"));
    expect([statusOf(answer), harness.service.requests.length]).toEqual([405, before]);
    expect(answer.endsWith("\r\n\r\n")).toBe(true);
  });
});

describe("large bodies", () => {
  test("a body over the limit is answered before it is read, and the connection lives on", async () => {
    const client = await RawClient.open(harness.port);
    const lengthBytes = BODY_MAX_BYTES * 4;
    client.send(`POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: ${lengthBytes}\r\n\r\n`);
    await client.until("413", ({ received }) => received.startsWith("HTTP/1.1 413"));
    client.send("x".repeat(lengthBytes) + requestText("GET", "/status"));
    const answer = await client.rest();
    expect(answer).toMatch(/x-ol-error: body_too_large/i);
    expect(answer.trimEnd()).toEndWith("ready");
  });

  test("100 MB answers 413 without holding it in memory", async () => {
    const before = process.memoryUsage.rss();
    const block = new Uint8Array(1024 * 1024).fill(120);
    const client = await RawClient.open(harness.port);
    client.send("POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n");
    for (let sent = 0; sent < 100; sent += 1) {
      client.send(block);
      await client.until("room", ({ unsentBytes, closed }) => unsentBytes === 0 || closed);
    }
    client.send(requestText("GET", "/status"));
    expect(statusOf(await client.rest())).toBe(413);
    expect(process.memoryUsage.rss() - before).toBeLessThan(50 * 1024 * 1024);
  });

  test("an announced terabyte is refused and its connection closed", async () => {
    const answer = await exchange(
      harness.port,
      "POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\nx",
    );
    expect(statusOf(answer)).toBe(413);
    expect(answer).toMatch(/connection: close/i);
  });

  test("an endless chunked body is cut at the limit with 413", async () => {
    const client = await RawClient.open(harness.port);
    client.send("POST /run/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    const chunk = `1000\r\n${"x".repeat(4096)}\r\n`;
    for (let n = 0; n <= BODY_MAX_BYTES / 4096; n += 1) client.send(chunk);
    const answer = await client.rest();
    expect(statusOf(answer)).toBe(413);
    expect(answer).toMatch(/x-ol-error: body_too_large/i);
  });
});
