/** DESIGN 2.4: each request and failure with its status, body and headers. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { ERROR_RULES, type ErrorCode, OlError } from "../../../src/common/errors.ts";
import { BODY_MAX_BYTES, type Harness, startHarness } from "./harness.ts";

let harness: Harness;

beforeAll(async () => {
  harness = await startHarness();
});
afterAll(() => harness.stop());
beforeEach(() => {
  harness.service.draining = false;
  harness.service.start = "warm";
});

function call(
  name: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers = {},
): Promise<Response> {
  return fetch(`${harness.url}/runLambda/${name}`, { method: "POST", body, headers });
}

describe("POST /runLambda/<NAME>", () => {
  test("answers 200 with the handler's value and every header of the contract", async () => {
    const answer = await call("echo", '{"name":"Alice"}');
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.headers.get("x-ol-start")).toBe("warm");
    expect(answer.headers.get("server-timing")).toBe(
      "queue;dur=0.005, sandbox;dur=1.250, import;dur=0.000, handler;dur=12.345, " +
        "guest;dur=0.400, total;dur=14.010",
    );
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(await answer.text()).toBe('{"name":"Alice"}');
  });

  test("has the alias /run/<NAME>", async () => {
    const answer = await fetch(`${harness.url}/run/echo`, { method: "POST", body: "[1]" });
    expect([answer.status, await answer.text()]).toEqual([200, "[1]"]);
  });

  test("passes the body's bytes on untouched", async () => {
    let seen = new Uint8Array(0);
    harness.service.lambdas.set("bytes", (_event, request) => {
      seen = request.body.slice();
      return null;
    });
    const body = Buffer.from('  {"a" : 1e2,\n"a":"\\u00e9 é"}  ');
    await call("bytes", body);
    expect(Buffer.from(seen).equals(body)).toBe(true);
  });

  test("takes an empty body for null", async () => {
    const answer = await call("echo", "");
    expect([answer.status, await answer.text()]).toEqual([200, "null"]);
  });

  for (const start of ["warm", "unpaused", "zygote", "fresh"] as const) {
    test(`tells the start "${start}"`, async () => {
      harness.service.start = start;
      expect((await call("echo", "1")).headers.get("x-ol-start")).toBe(start);
    });
  }

  test("echoes a sane x-request-id and hands it to the lambda layer", async () => {
    const id = "trace/7:a.b_c-d=+@";
    const answer = await call("echo", "1", { "x-request-id": id });
    expect(answer.headers.get("x-request-id")).toBe(id);
    expect(harness.service.requests.at(-1)?.requestId).toBe(id);
  });

  for (const id of ["", "a b", 'quote"', "x".repeat(129), "é"]) {
    test(`replaces the x-request-id ${JSON.stringify(id.slice(0, 10))}`, async () => {
      const answer = await call("echo", "1", { "x-request-id": id });
      expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    });
  }

  test("gives each call its own headers and body when many run at once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, nonce) => {
        const answer = await call("echo", String(nonce), { "x-request-id": `r${nonce}` });
        return [answer.headers.get("x-request-id"), await answer.text()];
      }),
    );
    expect(answers).toEqual(Array.from({ length: 200 }, (_, n) => [`r${n}`, String(n)]));
  });
});

describe("failures", () => {
  for (const code of Object.keys(ERROR_RULES) as ErrorCode[]) {
    test(`${code} is answered with its status, its name and the common headers`, async () => {
      harness.service.lambdas.set("fail", () => {
        throw new OlError(code, "Cannot do it: /srv/secret/path is gone");
      });
      const answer = await call("fail", "1", { "x-request-id": "id-1" });
      const text = await answer.text();
      expect(answer.status).toBe(ERROR_RULES[code].status);
      expect(answer.headers.get("x-ol-error")).toBe(code);
      expect(answer.headers.get("content-type")).toBe("text/plain; charset=utf-8");
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      expect(answer.headers.get("x-request-id")).toBe("id-1");
      expect(answer.headers.get("server-timing")).toContain("handler;dur=12.345");
      expect(answer.headers.has("retry-after")).toBe([429, 503].includes(answer.status));
      expect(text.endsWith("\n")).toBe(true);
    });
  }

  const HOST_SIDE = [
    "internal",
    "syscall",
    "sandbox_create",
    "registry_unavailable",
    "registry_denied",
    "docker_unavailable",
    "engine_unavailable",
    "config_invalid",
    "base_invalid",
  ] as const;
  for (const code of HOST_SIDE) {
    test(`${code} tells nothing of the host but where to look`, async () => {
      harness.service.lambdas.set("fail", () => {
        throw new OlError(code, "Cannot open /srv/secret/path: EACCES");
      });
      const text = await (await call("fail", "1", { "x-request-id": "id-2" })).text();
      expect(text).not.toContain("/srv");
      expect(text).toContain("id-2");
    });
  }

  test("an exception's body is the traceback as the guest gave it", async () => {
    const traceback =
      'Traceback (most recent call last):\n  File "/handler/lambda_func.py"\nKeyError: 1';
    harness.service.lambdas.set("raise", () => {
      throw new OlError("lambda_exception", traceback);
    });
    const answer = await call("raise", "1");
    expect([answer.status, await answer.text()]).toEqual([500, `${traceback}\n`]);
  });

  test("a message of any length is cut to its bound", async () => {
    harness.service.lambdas.set("raise", () => {
      throw new OlError("lambda_exception", "x".repeat(1_000_000));
    });
    const text = await (await call("raise", "1")).text();
    expect(text.length).toBe(32 * 1024 + 1);
  });

  test("a body that is not JSON answers 400 and begins as the original's", async () => {
    const answer = await call("echo", "{nope");
    expect(answer.status).toBe(400);
    expect(await answer.text()).toStartWith("bad POST data: ");
  });

  test("invalid UTF-8 answers 400", async () => {
    expect((await call("echo", new Uint8Array([0x22, 0xff, 0x22]))).status).toBe(400);
  });

  test("a lambda that does not exist answers 404", async () => {
    const answer = await call("nobody", "1");
    expect([answer.status, answer.headers.get("x-ol-error")]).toEqual([404, "lambda_unknown"]);
  });

  test("a service that throws against its contract is answered with 500", async () => {
    const run = harness.service.run.bind(harness.service);
    harness.service.run = () => Promise.reject(new Error("bug in /srv/secret"));
    const answer = await call("echo", "1");
    harness.service.run = run;
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain("secret");
    expect((await call("echo", "1")).status).toBe(200);
  });

  test("a body of exactly the limit passes, one byte more answers 413", async () => {
    const fits = `"${"x".repeat(BODY_MAX_BYTES - 2)}"`;
    expect((await call("echo", fits)).status).toBe(200);
    const answer = await call("echo", `${fits} `);
    expect([answer.status, answer.headers.get("x-ol-error")]).toEqual([413, "body_too_large"]);
    expect(await answer.text()).toContain("64 KiB");
  });
});

describe("while draining", () => {
  test("calls answer 503 with retry-after and close their connection", async () => {
    harness.service.draining = true;
    const answer = await call("echo", "1");
    expect([answer.status, answer.headers.get("x-ol-error")]).toEqual([503, "draining"]);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(answer.headers.get("connection")).toBe("close");
  });

  test("/status answers 503 draining", async () => {
    harness.service.draining = true;
    const answer = await fetch(`${harness.url}/status`);
    expect([answer.status, await answer.text()]).toEqual([503, "draining\n"]);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
  });
});

describe("reading routes", () => {
  test("GET /status answers 200 ready", async () => {
    const answer = await fetch(`${harness.url}/status`);
    expect([answer.status, (await answer.text()).trim()]).toEqual([200, "ready"]);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
  });

  test("GET /stats answers the service's figures as JSON", async () => {
    const answer = await fetch(`${harness.url}/stats`);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await answer.json()).toMatchObject({ lambdas: harness.service.lambdas.size });
  });

  for (const path of ["/status", "/stats", "/metrics"]) {
    test(`HEAD ${path} answers as GET, without the body`, async () => {
      const answer = await fetch(harness.url + path, { method: "HEAD" });
      expect(answer.status).toBe(200);
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      expect(Number(answer.headers.get("content-length"))).toBeGreaterThan(0);
      expect(await answer.text()).toBe("");
    });
  }

  for (const path of ["/status", "/stats", "/metrics", "/run/echo", "/runLambda/echo"]) {
    test(`OPTIONS ${path} answers 200 with the original's CORS headers`, async () => {
      const answer = await fetch(harness.url + path, { method: "OPTIONS" });
      expect(answer.status).toBe(200);
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      expect(answer.headers.get("access-control-allow-methods")).toContain("POST");
      expect(answer.headers.get("access-control-allow-headers")).toContain("Content-Type");
    });
  }

  for (const [path, methods, allow] of [
    ["/run/echo", ["GET", "HEAD", "PUT", "DELETE", "PATCH"], "POST, OPTIONS"],
    ["/runLambda/echo", ["GET", "PUT"], "POST, OPTIONS"],
    ["/status", ["POST", "PUT", "DELETE", "PATCH"], "GET, HEAD, OPTIONS"],
    ["/stats", ["POST"], "GET, HEAD, OPTIONS"],
  ] as const) {
    for (const method of methods) {
      test(`${method} ${path} answers 405 and names what is allowed`, async () => {
        const answer = await fetch(harness.url + path, { method });
        expect([answer.status, answer.headers.get("allow")]).toEqual([405, allow]);
        expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      });
    }
  }

  for (const path of ["/", "/run", "/run/", "/run/echo/more", "/nothing"]) {
    test(`${path} answers 404`, async () => {
      const answer = await fetch(harness.url + path, { method: "POST", body: "1" });
      expect([answer.status, answer.headers.get("x-ol-error")]).toEqual([404, "route_unknown"]);
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    });
  }
});
