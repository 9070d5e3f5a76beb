/** `ol status` on a real worker: figures, JSON, and the live view on a pipe and at a terminal. */

import { afterAll, beforeAll, expect, test } from "bun:test";

import { OL, olDone } from "../helpers/ol.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";

let worker: TestWorker;

beforeAll(async () => {
  worker = await startWorker();
  worker.lambda("echo", "def handler(event):\n    return event\n");
  for (let nonce = 0; nonce < 3; nonce++) await worker.call("echo", nonce);
});
afterAll(() => worker.stop());

interface StatusJson {
  readonly workers: readonly {
    readonly worker: string;
    readonly ok: boolean;
    readonly stats: {
      readonly calls: { readonly total: number };
      readonly lambdas: number;
      readonly zygotes: readonly unknown[];
    };
  }[];
}

test("ol status keeps upstream's lines and shows the worker's figures below", async () => {
  const lines = (await olDone(["status", `--cluster=${worker.cluster}`])).split("\n");
  expect(lines.slice(0, 2)).toEqual([
    "Worker Pings:",
    `  http://localhost:${worker.port}/status => ready [200 OK]`,
  ]);
  expect(lines).toContain("Cluster containers:");
  const row = lines.find((line) => line.startsWith("  worker-0 "));
  expect(row).toMatch(/worker-0 +\d+s +1 +1\/0\/[01] +3 +0\+0 .* 66% of 3/);
});

test("ol status --json carries all that the worker counts", async () => {
  const text = await olDone(["status", `--cluster=${worker.cluster}`, "--json"]);
  const { workers } = JSON.parse(text) as StatusJson;
  expect(workers).toMatchObject([
    { worker: "worker-0", ok: true, stats: { calls: { total: 3 }, lambdas: 1, zygotes: [] } },
  ]);
});

test("ol status --watch prints one block after the other on a pipe, and ends on SIGINT", async () => {
  const child = Bun.spawn([OL, "status", `--cluster=${worker.cluster}`, "--watch"], {
    stdout: "pipe",
    stderr: "inherit",
  });
  let seen = "";
  const reading = (async () => {
    for await (const piece of child.stdout) seen += new TextDecoder().decode(piece);
  })();
  const blocks = (): number => seen.match(/^Worker Pings:$/gm)?.length ?? 0;
  await waitFor(() => blocks() >= 2, "two blocks are there");
  child.kill("SIGINT");
  expect(await child.exited).toBe(0);
  await reading;
  expect(seen).not.toContain("\u001b");
  expect(seen).toMatch(/ 3 \(0\/s\) /);
});

test("ol status --watch draws over itself at a terminal, and leaves it as it was", async () => {
  let seen = "";
  const terminal = new Bun.Terminal({
    cols: 80,
    rows: 10,
    data: (_terminal, bytes) => {
      seen += new TextDecoder().decode(bytes);
    },
  });
  const argv = [OL, "status", `--cluster=${worker.cluster}`, "--watch"];
  const child = Bun.spawn(argv, { terminal, env: { ...process.env, TERM: "xterm" } });
  await waitFor(() => seen.split("\u001b[HWorker Pings:").length > 2, "it is drawn twice");
  child.kill("SIGINT");
  expect(await child.exited).toBe(0);
  await waitFor(() => seen.endsWith("\u001b[?25h\u001b[?1049l"), "the screen is given back");
  terminal.close();
  expect(seen).toStartWith("\u001b[?1049h\u001b[?25l");
});
