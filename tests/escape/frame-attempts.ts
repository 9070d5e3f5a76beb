/** Rows of what a lambda says to the worker on its own socket: only its own calls may suffer. */

import { expect } from "bun:test";
import { readFileSync } from "node:fs";

import type { TestWorker } from "../helpers/worker.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { PRELUDE, type Scenario } from "./attempts.ts";

/** What the rows are made of. */
export interface FramesContext {
  readonly worker: TestWorker;
}

/** Lambda that is well-behaved for event 0 and does `code` otherwise; `send` writes to its socket. */
function hostile(worker: TestWorker, name: string, code: string): void {
  const lines = code.trim().split("\n");
  worker.lambda(
    name,
    `${PRELUDE}
import threading, time
FRAME = struct.Struct("<IBI")
def frame(kind, call, payload=b"", length=None):
    return FRAME.pack(len(payload) if length is None else length, kind, call) + payload
def send(*parts):
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(own_socket(), view):]
def handler(event):
    if event == 0:
        return "calm"
${lines.map((line) => `    ${line}`).join("\n")}
    while True:
        time.sleep(1)
`,
  );
}

async function expectUnharmed(worker: TestWorker, name: string): Promise<void> {
  expect((await worker.call("neighbour", 7)).text).toBe("7");
  const next = await worker.call(name, 0);
  expect([next.status, next.text]).toEqual([200, '"calm"']);
}

const RESULT = 17;

/** What is sent while a call waits, the status its caller gets, and a part of the words. */
const BROKEN: readonly (readonly [string, string, number])[] = [
  ["garbage", "send(b'\\xff' * 4096)", 502],
  ["random bytes", "send(os.urandom(1 << 20))", 502],
  ["a length of 4 GiB", "send(frame(17, 1, b'', 0xFFFFFFFF))", 502],
  ["a length just over the bound", "send(frame(17, 1, b'', 64 * 1024 * 1024 + 1))", 502],
  ["an unknown type", "send(frame(99, 1, b'abcd'))", 502],
  ["a type of the worker's own", "send(frame(2, 1, b'null'))", 502],
  ["word of being enclosed, again", "send(frame(23, 0, b''))", 502],
  ["a result too short for its head", "send(frame(17, 1, b'abc'))", 502],
  ["a result for a call that it was not given", "send(frame(17, 77, b'abcdnull'))", 502],
  ["a thousand unsolicited results", "send(frame(17, 9, b'abcdnull') * 1000)", 502],
  ["a broken ready message", "send(frame(16, 0, b'\\xff\\xff\\xff\\xff{'))", 502],
  ["half a frame, then the end", "send(FRAME.pack(100, 17, 1) + b'x')\nos._exit(3)", 502],
  ["the end of its stream", "socket.socket(fileno=own_socket()).shutdown(socket.SHUT_RDWR)", 502],
  ["nothing: it closes its socket", "os.close(own_socket())", 502],
  ["that it is ready, a second time", "send(frame(16, 0, b'\\2\\0\\0\\0{}'))", 502],
  [
    "that it is ready, over and over",
    "send(frame(16, 0, b'\\x0f\\0\\0\\0{\"importUs\": 1}') * 4000)",
    502,
  ],
  ["that its lambda cannot be loaded", "send(frame(20, 0, b'no'))", 502],
  ["that it could not be set up", "send(frame(22, 0, b'no' * 20000))", 502],
];

/** What a lambda claims while it is loaded, by which frame, and the status its caller gets. */
const CLAIMS: readonly (readonly [string, number, number])[] = [
  ["cannot be set up", 22, 502],
  ["cannot be loaded", 20, 500],
];

const EVIL_CODE = `
import marshal
evil = marshal.dumps(compile("def handler(event): return 'evil'", "x", "exec"))
head = b'{"importUs": 1}'
send(frame(16, 0, struct.pack("<I", len(head)) + head + evil))`;

/** @param worker gets the lambda that must not be harmed, which is called once, and one that sends what it is told */
export async function startNeighbour(worker: TestWorker): Promise<void> {
  worker.lambda("neighbour", "def handler(event):\n    return event\n");
  await worker.call("neighbour", 1);
  hostile(worker, "sends", "exec(event, globals())");
}

/** All of them. */
export const FRAMES: readonly Scenario<FramesContext>[] = [
  ...BROKEN.map(([label, code, status]) => ({
    row: `${label}: its call fails, nobody else's`,
    run: async ({ worker }: FramesContext) => {
      expect((await worker.call("sends", 0)).text).toBe('"calm"');
      const answer = await worker.call("sends", code);
      expect([answer.status, answer.text.includes("/")]).toEqual([status, false]);
      await expectUnharmed(worker, "sends");
    },
  })),
  {
    row: "an answer of its own making is the answer of its own call, not of another's",
    run: async ({ worker }) => {
      hostile(worker, "forges", `send(frame(${RESULT}, 2, b'\\0\\0\\0\\0"forged"'))`);
      await worker.call("forges", 0);
      const [forged, honest] = await Promise.all([
        worker.call("forges", 1),
        worker.call("neighbour", "mine"),
      ]);
      expect(honest.text).toBe('"mine"');
      expect(forged.text).toBe('"forged"');
    },
  },
  {
    row: "two answers to one call: the first counts, then it is ended",
    run: async ({ worker }) => {
      hostile(worker, "twice", `send(frame(${RESULT}, 2, b'\\0\\0\\0\\0"first"') * 2)`);
      await worker.call("twice", 0);
      expect((await worker.call("twice", 1)).status).toBeOneOf([200, 502]);
      await expectUnharmed(worker, "twice");
    },
  },
  {
    row: "a late frame after the answer ends it before it serves another call wrongly",
    run: async ({ worker }) => {
      hostile(
        worker,
        "late",
        "threading.Timer(0.05, lambda: send(frame(17, 3, b'abcd\"late\"'))).start()\nreturn 'answered'",
      );
      await worker.call("late", 0);
      const { live } = (await worker.stats()).sandboxes;
      expect((await worker.call("late", 1)).text).toBe('"answered"');
      // Nothing is called meanwhile: a call that is under way by then, its own, could be answered like that.
      const ended = async (): Promise<boolean> => (await worker.stats()).sandboxes.live < live;
      await waitFor(ended, "the sandbox that sent late is ended");
      const { text, headers } = await worker.call("late", 0);
      expect([text, headers.get("x-ol-start")]).toEqual(['"calm"', "fresh"]);
      await expectUnharmed(worker, "late");
    },
  },
  {
    row: "bytecode that it offers in its first call is used for nobody: its code was sent before",
    run: async ({ worker }) => {
      hostile(worker, "offers-code", `${EVIL_CODE}\nreturn "sent"`);
      expect((await worker.call("offers-code", 1)).status).toBe(502);
      worker.lambda("victim-of-code", "def handler(event):\n    return 'honest'\n");
      expect((await worker.call("victim-of-code")).text).toBe('"honest"');
      await expectUnharmed(worker, "offers-code");
    },
  },
  {
    row: "bytecode that it offers while it is loaded is used for nobody but itself",
    run: async ({ worker }) => {
      hostile(worker, "loads-code", `return "sent"`);
      const path = `${worker.cluster}/registry/loads-code/lambda_func.py`;
      const code = `${readFileSync(path, "utf8")}\nif os.path.exists("/handler"):${EVIL_CODE.replaceAll("\n", "\n    ")}\n`;
      worker.lambda("loads-code-too", code);
      // What it says itself then is its second word.
      expect((await worker.call("loads-code-too", 1)).status).toBe(502);
      worker.lambda("victim-of-loading", "def handler(event):\n    return 'honest'\n");
      expect((await worker.call("victim-of-loading")).text).toBe('"honest"');
      expect((await worker.call("neighbour", 7)).text).toBe("7");
    },
  },

  ...CLAIMS.map(([claim, type, status]) => ({
    row: `a lambda that says while it is loaded that it ${claim}: ${type}, ${status}`,
    run: async ({ worker }: FramesContext) => {
      worker.lambda(
        `claims-${type}`,
        `${PRELUDE}
import time
os.write(own_socket(), struct.pack("<IBI", 40000, ${type}, 0) + b"x" * 40000)
time.sleep(60)
`,
      );
      const answer = await worker.call(`claims-${type}`, 1);
      expect(answer.status).toBe(status);
      const lines = worker
        .log()
        .split("\n")
        .filter((line) => line.includes(`claims-${type}`));
      expect(lines.filter((line) => line.length > 1_000)).toEqual([]);
      expect((await worker.call("neighbour", 7)).text).toBe("7");
    },
  })),
  {
    row: "half a large frame that nobody asked for ends it; the worker does not hold it",
    run: async ({ worker }) => {
      hostile(
        worker,
        "hoards",
        "threading.Timer(0.05, lambda: send(frame(17, 3, b'x' * 9000000, 60000000))).start()\nreturn 'answered'",
      );
      await worker.call("hoards", 0);
      const { live } = (await worker.stats()).sandboxes;
      expect((await worker.call("hoards", 1)).text).toBe('"answered"');
      const ended = async (): Promise<boolean> => (await worker.stats()).sandboxes.live < live;
      await waitFor(ended, "the sandbox that sent unasked is ended");
      await expectUnharmed(worker, "hoards");
    },
  },
  {
    row: "not reading its calls does not stop the worker",
    run: async ({ worker }) => {
      hostile(
        worker,
        "deaf",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nreturn 'deaf'",
      );
      expect((await worker.call("deaf", "x".repeat(4_000_000))).text).toBe('"deaf"');
      await expectUnharmed(worker, "deaf");
    },
  },
];
