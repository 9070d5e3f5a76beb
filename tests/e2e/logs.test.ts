/** `ol logs` over two workers: which request printed what, now and while it is followed. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePorts } from "../helpers/free-port.ts";
import { expectNoLeaks, type LeakSnapshot, leakSnapshot } from "../helpers/leaks.ts";
import { OL, olDone } from "../helpers/ol.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(60_000));

const CODE = `import sys
def handler(event):
    print("out", event)
    if event % 2:
        print("err", event, file=sys.stderr)
`;

let temp: TempDir;
let cluster = "";
let port = 0;
let before: LeakSnapshot;

beforeAll(async () => {
  before = leakSnapshot();
  temp = tempDir("ol-logs-");
  cluster = temp.join("cluster");
  port = await freePorts(2);
  await olDone(["new", `--cluster=${cluster}`]);
  mkdirSync(join(cluster, "registry/hello"));
  writeFileSync(join(cluster, "registry/hello/lambda_func.py"), CODE);
  await olDone(["workers", `--cluster=${cluster}`, `--port=${port}`, "-n=2"]);
});
afterAll(async () => {
  await olDone(["kill", `--cluster=${cluster}`]);
  await expectNoLeaks(before, { marks: [temp.path] });
  temp.remove();
});

/** Calls one worker. @returns the request id in the answer */
async function call(worker: number, event: number, requestId?: string): Promise<string | null> {
  const headers = requestId === undefined ? {} : { "x-request-id": requestId };
  const init = { method: "POST", body: String(event), headers };
  const response = await fetch(`http://127.0.0.1:${port + worker}/run/hello`, init);
  expect(response.status).toBe(200);
  return response.headers.get("x-request-id");
}

interface Piece {
  readonly worker: string;
  readonly stream: string;
  readonly requestId: string | null;
  readonly text: string;
}

const pieces = (text: string): Piece[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Piece);

test("ol logs --requests ties what was printed to the id that the caller got", async () => {
  const ids = [await call(0, 1), await call(0, 2, "trace-2"), await call(1, 3), await call(0, 5)];
  expect(ids[1]).toBe("trace-2");
  const text = await olDone(["logs", `--cluster=${cluster}`, "hello", "--requests", "--json"]);
  const of = (requestId: string | null | undefined): string[] =>
    pieces(text)
      .filter((piece) => piece.requestId === requestId)
      .map(({ worker, stream, text: printed }) => `${worker} ${stream} ${printed.trim()}`);
  expect(of(ids[0])).toEqual(["worker-0 stdout out 1", "worker-0 stderr err 1"]);
  expect(of("trace-2")).toEqual(["worker-0 stdout out 2"]);
  expect(of(ids[2])).toEqual(["worker-1 stdout out 3", "worker-1 stderr err 3"]);
  expect(of(ids[3])).toEqual(["worker-0 stdout out 5", "worker-0 stderr err 5"]);
  const shown = await olDone(["logs", `--cluster=${cluster}`, "hello", "--requests"]);
  expect(shown).toMatch(/^==> worker-0 instance \S+ stdout request trace-2 <==\nout 2\n/m);
});

test("ol logs --follow shows output of both workers with its requests", async () => {
  const argv = [OL, "logs", `--cluster=${cluster}`, "hello", "--follow", "--requests", "--json"];
  const child = Bun.spawn(argv, { stdout: "pipe", stderr: "inherit" });
  let seen = "";
  const reading = (async () => {
    for await (const piece of child.stdout) seen += new TextDecoder().decode(piece);
  })();
  for (const [worker, event] of [
    [0, 10],
    [1, 12],
    [0, 14],
  ] as const) {
    const id = await call(worker, event);
    await waitFor(() => seen.includes(`"requestId":"${id}"`), `the request ${id} is shown`);
  }
  child.kill("SIGINT");
  expect(await child.exited).toBe(0);
  await reading;
  const later = pieces(seen).filter(({ text }) => /^out 1[024]\n$/.test(text));
  expect(later.map(({ worker, text }) => `${worker} ${text.trim()}`)).toEqual([
    "worker-0 out 10",
    "worker-1 out 12",
    "worker-0 out 14",
  ]);
  expect(pieces(seen).every(({ requestId }) => requestId !== null)).toBe(true);
});

const OUTPUT_MAX_BYTES = 8 * 1024 * 1024;

/** Lines of 64 KiB, more of them than one instance may print. */
const LINES = 2.5 * (OUTPUT_MAX_BYTES / 65_536);

test("a lambda that prints much goes on to be heard, within bounds", async () => {
  mkdirSync(join(cluster, "registry/chatty"));
  const code = "def handler(event):\n    print(event, 'x' * 65_000)\n";
  writeFileSync(join(cluster, "registry/chatty/lambda_func.py"), code);
  for (let line = 0; line < LINES; line++) {
    const init = { method: "POST", body: String(line) };
    const response = await fetch(`http://127.0.0.1:${port}/run/chatty`, init);
    expect([line, response.status]).toEqual([line, 200]);
  }
  const text = await olDone(["logs", `--cluster=${cluster}`, "chatty"]);
  const heard = [...text.matchAll(/^(\d+) x+$/gm)].map(([, line]) => Number(line));
  expect(heard).toEqual(Array.from({ length: LINES }, (_, line) => line));
  const sizes = readdirSync(join(cluster, "workers/worker-0/handlers/chatty")).map(
    (id) => statSync(join(cluster, "workers/worker-0/handlers/chatty", id, "stdout")).size,
  );
  expect(sizes.length).toBeGreaterThan(1);
  expect(Math.max(...sizes)).toBeLessThan(OUTPUT_MAX_BYTES);
});
