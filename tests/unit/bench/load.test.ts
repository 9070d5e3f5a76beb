import { afterEach, describe, expect, test } from "bun:test";

import { AnswerParser, headerOf, serverTimingUs } from "../../../bench/load/answer-parser.ts";
import { schedule } from "../../../bench/load/arrivals.ts";
import { generate } from "../../../bench/load/generator.ts";
import { LoadError, LoadProcess } from "../../../bench/load/load-process.ts";
import { PLAN_DEFAULTS, type LoadPlan } from "../../../bench/load/plan.ts";
import { Random } from "../../../bench/stats/random.ts";

let server: ReturnType<typeof Bun.serve> | null = null;

function serve(handler: (request: Request) => Response | Promise<Response>): number {
  server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: handler });
  return server.port ?? 0;
}

afterEach(async () => {
  await server?.stop(true);
  server = null;
});

const plan = (port: number, part: Partial<LoadPlan>): LoadPlan => ({
  ...PLAN_DEFAULTS,
  port,
  paths: ["/"],
  arrivals: { kind: "closed", clients: 1 },
  seed: "test",
  ...part,
});

const echo = async (request: Request): Promise<Response> =>
  new Response(await request.arrayBuffer());

describe("AnswerParser", () => {
  const whole = "HTTP/1.1 200 OK\r\nX-Ol-Start: warm\r\nContent-Length: 5\r\n\r\nhello";

  test("feed() finds the answer at whatever byte it is cut", () => {
    for (let cut = 1; cut < whole.length; cut++) {
      const parser = new AnswerParser();
      expect(parser.feed(Buffer.from(whole.slice(0, cut)))).toBeNull();
      const answer = parser.feed(Buffer.from(whole.slice(cut)));
      expect(answer?.status).toBe(200);
      expect(answer?.body.toString()).toBe("hello");
      expect(headerOf(answer?.head ?? "", "x-ol-start")).toBe("warm");
    }
  });

  test("feed() joins chunks and accepts a second answer", () => {
    const parser = new AnswerParser();
    const chunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    expect(parser.feed(Buffer.from(chunked))?.body.toString()).toBe("abcde");
    expect(parser.feed(Buffer.from(whole))?.body.toString()).toBe("hello");
  });

  test("feed() refuses bytes that nobody asked for and bodies without an end", () => {
    expect(() => new AnswerParser().feed(Buffer.from(`${whole}HTTP`))).toThrow("nobody asked for");
    expect(() => new AnswerParser().feed(Buffer.from("HTTP/1.1 200 OK\r\n\r\n"))).toThrow(
      "neither",
    );
  });

  test("serverTimingUs() reads stages in microseconds", () => {
    expect(serverTimingUs('queue;dur=0.25, handler;desc="x";dur=3, odd')).toEqual({
      queue: 250,
      handler: 3000,
    });
  });
});

describe("schedule()", () => {
  test("is evenly spaced when constant", () => {
    const next = schedule("constant", 1000, new Random("c"));
    expect([next(), next(), next()]).toEqual([0, 1000, 2000]);
  });

  test("has exponential gaps with the rate's mean when Poisson", () => {
    const next = schedule("poisson", 1000, new Random("p"));
    const starts = Array.from({ length: 20_001 }, () => next());
    const gaps = starts.slice(1).map((start, i) => start - (starts[i] ?? 0));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    expect(mean / 1000).toBeCloseTo(1, 1);
    // Of an exponential distribution 1/e exceeds the mean.
    expect(gaps.filter((gap) => gap > mean).length / gaps.length).toBeCloseTo(Math.exp(-1), 1);
  });
});

describe("generate()", () => {
  test("sends exactly the calls of a closed loop over all paths and checks nonces", async () => {
    const seen = new Map<string, number>();
    const port = serve(async (request) => {
      const { pathname } = new URL(request.url);
      seen.set(pathname, (seen.get(pathname) ?? 0) + 1);
      return new Response(await request.arrayBuffer(), {
        headers: { "x-ol-start": "warm", "server-timing": "queue;dur=1, handler;dur=2" },
      });
    });
    const result = await generate(
      plan(port, {
        paths: ["/a", "/b"],
        arrivals: { kind: "closed", clients: 4 },
        count: 100,
        warmupCount: 20,
        padBytes: 70_000,
        details: true,
      }),
    );
    expect(result.failures).toEqual({});
    expect(result.latencyUs).toHaveLength(100);
    expect(result.start).toEqual(Array.from({ length: 100 }, () => "warm"));
    expect(result.stages["handler"]).toHaveLength(100);
    expect(result.inFlightMax).toBeLessThanOrEqual(4);
    expect(seen).toEqual(
      new Map([
        ["/a", 60],
        ["/b", 60],
      ]),
    );
  });

  test("warms up with other draws than it measures, and repeats both from the seed", async () => {
    const seen: string[] = [];
    const port = serve(async (request) => {
      seen.push(new URL(request.url).pathname);
      return await echo(request);
    });
    const paths = Array.from({ length: 50 }, (_, i) => `/${i}`);
    const pick = { kind: "zipf", exponent: 1 } as const;
    const zipf = plan(port, { paths, pick, count: 40, warmupCount: 40 });
    await generate(zipf);
    const [warmUp, measured] = [seen.slice(0, 40), seen.slice(40)];
    expect(warmUp).not.toEqual(measured);
    seen.length = 0;
    await generate(zipf);
    expect(seen).toEqual([...warmUp, ...measured]);
  });

  test("adds members to each event and reads starts without details", async () => {
    const events: unknown[] = [];
    const port = serve(async (request) => {
      const text = await request.text();
      events.push(JSON.parse(text));
      return new Response(text, { headers: { "x-ol-start": "fresh" } });
    });
    const result = await generate(
      plan(port, { count: 2, starts: true, extra: { leave: true, name: 'é"' } }),
    );
    expect(result.failures).toEqual({});
    expect(result).toMatchObject({ start: ["fresh", "fresh"], path: [] });
    expect(events).toMatchObject([
      { leave: true, name: 'é"' },
      { leave: true, name: 'é"' },
    ]);
  });

  test("reports an answer that belongs to another call", async () => {
    let last: Uint8Array<ArrayBuffer> = new Uint8Array();
    const port = serve(async (request) => {
      const previous = last;
      last = new Uint8Array(await request.arrayBuffer());
      return new Response(previous.length === 0 ? last : previous);
    });
    const result = await generate(plan(port, { count: 10 }));
    expect(result.failures).toEqual({ "wrong nonce": 9 });
    expect(result.latencyUs).toHaveLength(1);
  });

  test("reports statuses with the first body", async () => {
    const port = serve(() => new Response("no such lambda", { status: 404 }));
    const result = await generate(plan(port, { count: 3 }));
    expect(result.failures).toEqual({ "status 404": 3 });
    expect(result.firstFailure).toContain("no such lambda");
  });

  test("times refusals apart from answers", async () => {
    let turn = 0;
    const port = serve((request) =>
      turn++ % 3 === 0 ? echo(request) : new Response("full", { status: 429 }),
    );
    const result = await generate(plan(port, { count: 9 }));
    expect(result.failures).toEqual({ "status 429": 6 });
    expect([result.latencyUs.length, result.refusedUs.length]).toEqual([3, 6]);
    expect(Math.min(...result.refusedUs)).toBeGreaterThan(0);
  });

  test("ends with a failure when the server hangs or closes", async () => {
    const port = serve((request) =>
      request.method === "GET" ? new Promise<Response>(() => undefined) : echo(request),
    );
    const hung = await generate(
      plan(port, { method: "GET", nonce: false, count: 1, timeoutMs: 50 }),
    );
    expect(hung.failures).toEqual({ timeout: 1 });
    const closing = generate(plan(port, { method: "GET", nonce: false, count: 1 }));
    await server?.stop(true);
    expect(Object.values((await closing).failures)).toEqual([1]);
  });

  test("charges a stall to every call that came due meanwhile in an open loop", async () => {
    const stallMs = 200;
    let stalled: Promise<void> | null = null;
    const port = serve(async (request) => {
      stalled ??= Bun.sleep(stallMs);
      await stalled;
      return await echo(request);
    });
    const open = await generate(
      plan(port, {
        arrivals: { kind: "constant", ratePerS: 500, connectionsMax: 2 },
        count: 150,
      }),
    );
    expect(open.failures).toEqual({});
    expect(open.latencyUs).toHaveLength(150);
    // 100 calls come due in the stall: half of them wait for at least half of it. A closed loop,
    // or one that counts from the send, would show two.
    const late = open.latencyUs.filter((us) => us > (stallMs / 2) * 1000);
    expect(late.length).toBeGreaterThanOrEqual(45);
    expect(open.lagUs.filter((us) => us > (stallMs / 2) * 1000).length).toBeGreaterThan(40);
  });
});

describe("LoadProcess", () => {
  test("run() returns the burst of another process and rejects a bad one", async () => {
    const port = serve((request) =>
      new URL(request.url).pathname === "/good" ? echo(request) : new Response("", { status: 503 }),
    );
    const load = LoadProcess.start("seed");
    const arrivals = { kind: "closed", clients: 2 } as const;
    const good = await load.run({ port, paths: ["/good"], arrivals, count: 500, seed: "s" });
    expect(good.latencyUs).toHaveLength(500);
    expect(good.generatorCpuUs).toBeGreaterThan(0);
    const bad = load.run({ port, paths: ["/bad"], arrivals, count: 5, seed: "s" });
    expect(await bad.catch((error: unknown) => error)).toBeInstanceOf(LoadError);
    await server?.stop(true);
    const gone = load.run({ port, paths: ["/gone"], arrivals, count: 5, seed: "s" });
    expect(await gone.catch(String)).toContain("Cannot send load");
    await load.close();
  });
});
