import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { printed, startWorker, type TestWorker } from "../helpers/worker.ts";
import { waitFor } from "../helpers/wait-for.ts";

const ECHO = "def handler(event):\n    return event\n";
const CACHE_MS = 50;

let worker: TestWorker;

beforeAll(async () => {
  worker = await startWorker({ registry_cache_ms: CACHE_MS });
});
afterAll(() => worker.stop());

/** Calls until the answer is right; the code is looked at again after `registry_cache_ms`. */
async function untilAnswer(name: string, wanted: string): Promise<void> {
  await waitFor(async () => (await worker.call(name)).text === wanted, `${name} says ${wanted}`);
}

describe("a call", () => {
  test("returns the handler's value as JSON when it succeeds", async () => {
    worker.lambda("hello", 'def handler(event):\n    return "Hello, %s!" % event["name"]\n');
    const answer = await worker.call("hello", { name: "Alice" });
    expect(answer.text).toBe('"Hello, Alice!"');
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.headers.get("x-ol-start")).toBe("fresh");
    expect(answer.headers.get("server-timing")).toMatch(
      /^queue;dur=[\d.]+, pull;dur=[\d.]+, sandbox;dur=[\d.]+, import;dur=[\d.]+, handler;dur=[\d.]+, guest;dur=[\d.]+, total;dur=[\d.]+$/,
    );
    expect((await worker.call("hello", { name: "Bob" })).headers.get("x-ol-start")).toBe("warm");
  });

  test("gets null when the body is empty", async () => {
    worker.lambda("echo", ECHO);
    expect((await worker.post("echo", "")).text).toBe("null");
  });

  test("passes large bodies through unharmed", async () => {
    worker.lambda("echo", ECHO);
    const event = {
      text: "ü".repeat(2_000_000),
      numbers: Array.from({ length: 1000 }, (_, i) => i),
    };
    const answer = await worker.call("echo", event);
    expect(JSON.parse(answer.text)).toEqual(event);
  });

  test.each([
    ["{", 400],
    ["\xff", 400],
    ['{"a": NaNN}', 400],
    ["[".repeat(200_000), 400],
  ])("answers bad POST data when the body is %#", async (body, status) => {
    worker.lambda("echo", ECHO);
    const answer = await worker.post("echo", Buffer.from(body, "latin1"));
    expect(answer.status).toBe(status);
    expect(answer.text).toStartWith("bad POST data: ");
  });

  test("tells the traceback with the lambda's frames only when the handler raises", async () => {
    worker.lambda(
      "boom",
      "def inner():\n    raise KeyError('lost')\ndef handler(e):\n    inner()\n",
    );
    const { status, text } = await worker.call("boom");
    expect(status).toBe(500);
    expect(text.trim().split("\n")).toEqual([
      "Traceback (most recent call last):",
      '  File "/handler/lambda_func.py", line 4, in handler',
      "    inner()",
      '  File "/handler/lambda_func.py", line 2, in inner',
      "    raise KeyError('lost')",
      "KeyError: 'lost'",
    ]);
    expect((await worker.call("boom")).headers.get("x-ol-start")).toBe("warm");
  });

  test.each([
    ["NaN", "return float('nan')"],
    ["a set", "return {1, 2}"],
    ["itself", "a = []\n    a.append(a)\n    return a"],
    ["deep nesting", "a = []\n    for _ in range(100000): a = [a]\n    return a"],
  ])("answers 500 when the handler returns %s", async (label, code) => {
    const name = `bad-result-${label.replaceAll(" ", "-")}`;
    worker.lambda(name, `def handler(event):\n    ${code}\n`);
    const { status, text } = await worker.call(name);
    expect(status).toBe(500);
    expect(text).toStartWith("handler returned what JSON cannot hold");
  });
});

describe("loading", () => {
  test.each([
    ["no-handler", "x = 1\n", "no function named handler(event)"],
    ["syntax", "def handler(event)\n    return 1\n", "SyntaxError"],
    ["raises", "raise ImportError('not today')\n", "ImportError: not today"],
    ["not-callable", "handler = 3\n", "not a function"],
  ])("reports why and takes the mended code when it is broken: %s", async (name, code, reason) => {
    worker.lambda(name, code);
    const { status, text } = await worker.call(name);
    expect(status).toBe(500);
    expect(text).toContain(reason);
    expect(text).not.toContain("openlambda");
    worker.lambda(name, ECHO);
    await untilAnswer(name, "null");
  });

  test("keeps what is printed at import and in calls", async () => {
    worker.lambda("prints", "print('loading')\ndef handler(event):\n    print('called', event)\n");
    expect((await worker.call("prints", 7)).status).toBe(200);
    expect(printed(worker, "prints", "stdout")).toBe("loading\ncalled 7\n");
  });

  test("finds modules beside the handler", async () => {
    worker.lambda("modules", "import helper\ndef handler(e):\n    return helper.VALUE\n", {
      "helper.py": "VALUE = 42\n",
    });
    expect((await worker.call("modules")).text).toBe("42");
  });
});

describe("versions", () => {
  test("a call in flight ends on the code it began with, later ones run the new code", async () => {
    const waiting = (answer: string): string =>
      `import time\ndef handler(event):\n    time.sleep(event)\n    return ${JSON.stringify(answer)}\n`;
    worker.lambda("changing", waiting("old"));
    await worker.call("changing", 0);
    const slow = worker.call("changing", 1.5);
    worker.lambda("changing", waiting("new, and longer"));
    await waitFor(
      async () => (await worker.call("changing", 0)).text === '"new, and longer"',
      "the new code runs",
    );
    expect((await slow).text).toBe('"old"');
  });
});

describe("load", () => {
  test("200 calls at once on a cold worker are all answered, each with its own nonce", async () => {
    worker.lambda("burst", ECHO);
    const nonces = Array.from({ length: 200 }, () => crypto.randomUUID());
    const answers = await Promise.all(nonces.map((nonce) => worker.call("burst", { nonce })));
    expect(answers.map(({ status }) => status)).toEqual(nonces.map(() => 200));
    expect(answers.map(({ text }) => (JSON.parse(text) as { nonce: string }).nonce)).toEqual(
      nonces,
    );
  });

  test("500 lambdas called once each leave nothing that they do not need", async () => {
    const quiet = await startWorker({ handler_cache_size: 0 });
    try {
      const cgroups = (): number => readdirSync("/sys/fs/cgroup").length;
      quiet.lambda("first", ECHO);
      await quiet.call("first");
      const descriptors = (): number => readdirSync(`/proc/${quiet.pid()}/fd`).length;
      await waitFor(async () => (await quiet.stats()).sandboxes.live === 0, "the first is gone");
      const before = { cgroups: cgroups(), descriptors: descriptors() };
      const names = Array.from({ length: 500 }, (_, index) => `lambda-${index}`);
      for (const name of names) quiet.lambda(name, ECHO);
      for (let index = 0; index < names.length; index += 20) {
        const part = names.slice(index, index + 20);
        const answers = await Promise.all(part.map((name) => quiet.call(name, name)));
        expect(answers.map(({ text }) => text)).toEqual(part.map((name) => JSON.stringify(name)));
      }
      await waitFor(async () => (await quiet.stats()).sandboxes.live === 0, "all are gone");
      // Stocks of cgroups and output files have their bounds; a leak would show 500 times.
      await waitFor(() => descriptors() <= before.descriptors + 120, "descriptors are closed");
      expect(cgroups()).toBe(before.cgroups);
      expect((await quiet.stats()).memory.reservedBytes).toBe(0);
      expect(
        readdirSync(join(quiet.dir, "handlers")).flatMap((name) =>
          readdirSync(join(quiet.dir, "handlers", name)),
        ),
      ).toEqual([]);
    } finally {
      await quiet.stop();
    }
  });

  test("10,000 unknown names take no memory that stays", async () => {
    const names = Array.from({ length: 10_000 }, (_, index) => `unknown-${index}`);
    const before = (await worker.stats()).lambdas;
    for (let index = 0; index < names.length; index += 100) {
      const part = await Promise.all(names.slice(index, index + 100).map((n) => worker.call(n)));
      expect(part.every(({ status }) => status === 404)).toBe(true);
    }
    expect((await worker.stats()).lambdas).toBe(before);
  });
});
