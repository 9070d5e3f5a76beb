/** Lambdas that do not stop: what outlives its time is ended whole, what waits gets no CPU. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";

import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { SLOWDOWN, waitFor } from "../helpers/wait-for.ts";

/** A name for each lambda's processes, by which they are found from outside. */
const HEAD = (mark: string): string =>
  `import ctypes, os, signal, threading, time\nctypes.CDLL(None).prctl(15, b"${mark}", 0, 0, 0)\n`;

/** Living processes of that name; a zombie is dead. */
function processes(mark: string): number[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        return stat.includes(`(${mark})`) && !/\) [ZX] /.test(stat);
      } catch {
        return false;
      }
    });
}

/** User and system time of processes, in clock ticks. */
function cpuTicks(pids: readonly number[]): number {
  return pids
    .map((pid) => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [])
    .reduce((sum, fields) => sum + Number(fields[11]) + Number(fields[12]), 0);
}

describe("a lambda that does not end in runtime_sec", () => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = await startWorker({ limits: { runtime_sec: 1, procs: 32, mem_mb: 128 } });
    worker.lambda("neighbour", "def handler(event):\n    return event\n");
  });
  afterAll(() => worker.stop());

  const STUBBORN: readonly (readonly [string, string, string])[] = [
    ["loops", "ol-loop", "while True: pass"],
    ["sleeps", "ol-sleep", "time.sleep(600)"],
    [
      "ignores every signal",
      "ol-deaf",
      "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    ],
    [
      "has made a daemon in a session of its own",
      "ol-daemon",
      `
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: pass
    os._exit(0)
while True: pass`,
    ],
    [
      "runs in many threads and processes",
      "ol-crowd",
      `
def spin():
    while True: pass
for _ in range(4):
    threading.Thread(target=spin, daemon=True).start()
    if os.fork() == 0:
        spin()
spin()`,
    ],
    ["is stuck in a regular expression", "ol-regex", "import re\nre.match('(a+)+b', 'a' * 60)"],
  ];

  test.each(STUBBORN)("%s: 504, and all of it is dead", async (_, mark, code) => {
    const lines = code
      .trim()
      .split("\n")
      .map((line) => `    ${line}`);
    worker.lambda(mark, `${HEAD(mark)}def handler(event):\n${lines.join("\n")}\n`);
    const { status, text } = await worker.call(mark);
    expect([status, text.trim()]).toEqual([
      504,
      "The lambda ran longer than its limit of 1 s and was ended",
    ]);
    await waitFor(() => processes(mark).length === 0, `no process named ${mark} is left`);
    expect((await worker.call("neighbour", 3)).text).toBe("3");
    worker.lambda(mark, "def handler(event):\n    return 'mended'\n");
    await waitFor(
      async () => (await worker.call(mark)).text === '"mended"',
      "the mended lambda answers",
      30_000,
    );
  });
});

describe("a lambda that works on after its answer", () => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = await startWorker({ limits: { runtime_sec: 30, procs: 32, mem_mb: 128 } });
  });
  afterAll(() => worker.stop());

  test.each([
    ["a thread", "ol-thread", "threading.Thread(target=spin, daemon=True).start()"],
    ["a daemon", "ol-child", "if os.fork() == 0:\n        os.setsid()\n        spin()"],
  ])("%s: gets no CPU once its instance is paused, and none is lost", async (_, mark, start) => {
    worker.lambda(
      mark,
      `${HEAD(mark)}
def spin():
    while True: pass
def handler(event):
    if event:
        return event
    ${start}
    return os.getpid()
`,
    );
    expect((await worker.call(mark)).status).toBe(200);
    const pids = await waitFor(() => {
      const found = processes(mark);
      return found.length > 0 ? found : null;
    }, "its processes are there");
    let last = -1;
    let same = 0;
    await waitFor(() => {
      const ticks = cpuTicks(pids);
      same = ticks === last ? same + 1 : 0;
      last = ticks;
      return same >= 10;
    }, "its CPU time stands still");
    expect((await worker.stats()).sandboxes.paused).toBeGreaterThan(0);
    const again = await worker.call(mark, "awake");
    expect([again.text, again.headers.get("x-ol-start")]).toEqual(['"awake"', "unpaused"]);
  });
});

describe("large values", () => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = await startWorker({
      limits: { mem_mb: 4096, runtime_sec: 60 * SLOWDOWN },
      mem_pool_mb: 8192,
    });
    worker.lambda("neighbour", "def handler(event):\n    return event\n");
  });
  afterAll(() => worker.stop());

  test("1 GB returned: 500 that names the bound; the worker does not hold it", async () => {
    worker.lambda(
      "huge",
      "def handler(event):\n    return 'x' * (1 << 30) if event is None else event\n",
    );
    const { status, text } = await worker.call("huge");
    expect([status, text.trim()]).toEqual([
      500,
      `handler returned ${2 ** 30 + 2} bytes of JSON, at most ${64 * 2 ** 20 - 4} are allowed`,
    ]);
    expect((await worker.stats()).memory.workerRssBytes).toBeLessThan(512 * 2 ** 20);
    expect((await worker.call("huge", 1)).text).toBe("1");
    expect((await worker.call("neighbour", 1)).text).toBe("1");
  });
});

const ABUSES: readonly (readonly [string, string])[] = [
  ["a CPU loop", "while True: pass"],
  [
    "a fork bomb",
    `
    while True:
        try:
            os.fork()
        except OSError:
            pass`,
  ],
  ["a memory bomb", "held = b'x' * (1 << 30)"],
  [
    "a flood of output",
    `
    while True:
        os.write(1, b'x' * 65536)`,
  ],
];

describe("a neighbour of an abuser", () => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = await startWorker({
      limits: { runtime_sec: 2, procs: 32, mem_mb: 96, cpu_percent: 50 },
    });
    worker.lambda("neighbour", "def handler(event):\n    return event\n");
    await worker.call("neighbour", 0);
  });
  afterAll(() => worker.stop());

  test.each(ABUSES)("%s: all of the neighbour's calls are answered rightly", async (_, code) => {
    const name = `abuser-${ABUSES.findIndex(([, other]) => other === code)}`;
    worker.lambda(name, `import os\ndef handler(event):\n    ${code.trimStart()}\n`);
    const abuse = { isOver: false };
    const abusers = Promise.all([worker.call(name), worker.call(name)]).finally(() => {
      abuse.isOver = true;
    });
    for (let calls = 1; calls <= 100 || !abuse.isOver; calls++) {
      const answer = await worker.call("neighbour", calls);
      expect([answer.status, answer.text]).toEqual([200, String(calls)]);
    }
    for (const { status } of await abusers) expect(status).toBeOneOf([502, 504]);
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 0, "the abuser is gone");
  });
});
