/** DESIGN 2.4 and FAULTS C through the compiled executable: a real worker, real lambdas, raw bytes. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";
import { exchange, RawClient, requestText, statusOf } from "../integration/server/raw-client.ts";
import { requires } from "../helpers/requires.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { scaled } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(60_000));

const asRoot = requires({ root: true });
const isRoot = process.getuid?.() === 0;

let worker: TestWorker;

beforeAll(async () => {
  if (!isRoot) return;
  worker = await startWorker({ max_body_mb: 1, limits: { runtime_sec: 2 } });
  worker.lambda("echo", "def handler(event):\n    return event\n");
  worker.lambda("raise", "def handler(event):\n    raise KeyError(event)\n");
  worker.lambda("nan", "def handler(event):\n    return {1, 2}\n");
  worker.lambda("exit", "import os\ndef handler(event):\n    os._exit(3)\n");
  worker.lambda("spin", "def handler(event):\n    while True: pass\n");
});
afterAll(async () => {
  if (isRoot) await worker.stop();
});

describe("a worker over HTTP", () => {
  asRoot("answers a call with value, start kind, timing and the caller's request id", async () => {
    const { status, text, headers } = await worker.call(
      "echo",
      { a: [1, "é"] },
      {
        headers: { "x-request-id": "e2e-1" },
      },
    );
    expect([status, JSON.parse(text)]).toEqual([200, { a: [1, "é"] }]);
    expect(headers.get("x-request-id")).toBe("e2e-1");
    expect(headers.get("x-ol-start")).toMatch(/^(warm|unpaused|zygote|fresh)$/);
    expect(headers.get("server-timing")).toMatch(
      /^(?:(?:queue|pull|sandbox|import|handler|guest|total);dur=\d+\.\d{3}(?:, |$)){7}$/,
    );
    const again = await worker.call("echo", 1);
    expect(again.headers.get("x-ol-start")).toMatch(/^(warm|unpaused)$/);
  });

  const failures: [lambda: string, body: string, status: number, code: string, text: RegExp][] = [
    ["echo", "{nope", 400, "bad_request", /^bad POST data: /],
    ["nobody", "1", 404, "lambda_unknown", /nobody/],
    ["raise", "7", 500, "lambda_exception", /^Traceback [\s\S]*KeyError: 7\n$/],
    ["nan", "1", 500, "lambda_result_invalid", /set/],
    ["exit", "1", 502, "sandbox_died", /exit/],
    ["spin", "1", 504, "runtime_exceeded", /2/],
  ];
  for (const [lambda, body, status, code, text] of failures) {
    asRoot(`answers ${status} ${code}, with nothing of the host, and goes on`, async () => {
      const answer = await worker.post(lambda, body);
      expect([answer.status, answer.headers.get("x-ol-error")]).toEqual([status, code]);
      expect(answer.text).toMatch(text);
      expect(answer.text).not.toContain(worker.cluster);
      expect(answer.text).not.toContain("src/");
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      expect((await worker.call("echo", "next")).text).toBe('"next"');
    });
  }

  asRoot("takes an empty body for null and refuses one over max_body_mb", async () => {
    expect((await worker.post("echo", "")).text).toBe("null");
    const large = await worker.post("echo", `"${"x".repeat(1024 * 1024)}"`);
    expect([large.status, large.headers.get("x-ol-error")]).toEqual([413, "body_too_large"]);
  });

  const rows: [what: string, text: string, status: number][] = [
    ["a traversal", requestText("POST", "/run/%2e%2e%2fecho", ["Content-Length: 1"], "1"), 404],
    ["1,000 characters", requestText("POST", `/run/${"a".repeat(1000)}`), 404],
    ["an encoded NUL", requestText("POST", "/run/a%00", ["Content-Length: 1"], "1"), 404],
    [
      "a shifted path",
      "GET /abcdef/status HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n",
      400,
    ],
    [
      "two lengths",
      requestText("POST", "/run/echo", ["Content-Length: 1", "Content-Length: 2"]),
      400,
    ],
    ["20 KB of header", requestText("GET", "/status", [`X: ${"x".repeat(20_000)}`]), 431],
    ["PUT", requestText("PUT", "/run/echo"), 405],
    ["HEAD", requestText("HEAD", "/status"), 200],
    ["OPTIONS", requestText("OPTIONS", "/run/echo"), 200],
  ];
  for (const [what, text, status] of rows) {
    asRoot(`answers ${status} to ${what}`, async () => {
      expect(statusOf(await exchange(worker.port, text))).toBe(status);
    });
  }

  asRoot("answers 200 calls at once, each with its own nonce", async () => {
    const nonces = Array.from({ length: 200 }, (_, n) => `nonce-${n}`);
    const answers = await Promise.all(nonces.map((nonce) => worker.call("echo", nonce)));
    expect(answers.map(({ text }) => JSON.parse(text) as unknown)).toEqual(nonces);
  });

  asRoot("answers others while the call of a client that hung up runs on or ends", async () => {
    const client = await RawClient.open(worker.port);
    client.send("POST /run/spin HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
    client.terminate();
    expect((await worker.call("echo", 1)).status).toBe(200);
  });

  asRoot("counts calls and errors in /stats and /metrics alike", async () => {
    const get = async (path: string): Promise<string> =>
      (await fetch(`http://127.0.0.1:${worker.port}${path}`)).text();
    const stats = JSON.parse(await get("/stats")) as { calls: { total: number } };
    const total = /^ol_calls_total (\d+)$/m.exec(await get("/metrics"))?.[1];
    expect(Number(total)).toBe(stats.calls.total);
    expect(await get("/metrics")).toContain('ol_call_errors_total{code="body_too_large"} 1\n');
    expect(stats.calls.total).toBeGreaterThan(200);
  });
});
