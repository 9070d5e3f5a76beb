/** What every engine has to show on the musl base: the calls of a lambda, and who answers them. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { waitFor } from "../helpers/wait-for.ts";
import type { TestWorker } from "../helpers/worker.ts";
import { MUSL_LOADER, MUSL_PYTHON } from "./musl-base.ts";

/** Small enough to be passed, large enough for everyday Python. */
export const LIMITS = { mem_mb: 128, procs: 32, runtime_sec: 30 };

const HELLO = "def handler(event):\n    return 'hello ' + event\n";

/** Files that have code of this process in them. */
const LOADED = `
def handler(event):
    lines = [line.split() for line in open("/proc/self/maps")]
    return sorted({line[5] for line in lines if len(line) == 6 and "x" in line[1] and line[5][0] == "/"})
`;

const HUNGRY = `
def handler(event):
    return len(bytearray(1 << 30)) if event == "eat" else event
`;

const WORKLOAD = readFileSync(join(import.meta.dir, "workload.py"), "utf8");
const PARTS = "threads processes files sockets tasks system".split(" ");

/**
 * Makes the tests.
 * @param worker gives the worker, whose lambdas have `LIMITS`
 * @param start how a lambda's first call starts there
 * @param loopback whether its lambdas have a network: at least a loopback interface that is up
 */
export function testCalls(worker: () => TestWorker, start: string, loopback: boolean): void {
  test("a lambda answers", async () => {
    worker().lambda("hello", HELLO);
    const { status, text, headers } = await worker().call("hello", "musl");
    expect([status, text]).toEqual([200, '"hello musl"']);
    expect(headers.get("x-ol-start")).toBe(start);
  });

  test("its process runs on musl and on no other library", async () => {
    worker().lambda("loaded", LOADED);
    const { text } = await worker().call("loaded");
    expect(JSON.parse(text)).toEqual([MUSL_LOADER, MUSL_PYTHON]);
  });

  test("an idle sandbox is paused, and goes on when it is called", async () => {
    await waitFor(async () => {
      const { live, paused } = (await worker().stats()).sandboxes;
      return live > 0 && paused === live;
    }, "all sandboxes are paused");
    const { status, text, headers } = await worker().call("hello", "again");
    expect([status, text]).toEqual([200, '"hello again"']);
    expect(headers.get("x-ol-start")).toBe("unpaused");
  });

  test("more memory than its limit is a 502 that says so, and the next call is answered", async () => {
    worker().lambda("hungry", HUNGRY);
    const failed = await worker().call("hungry", "eat");
    expect([failed.status, failed.headers.get("x-ol-error")]).toEqual([
      502,
      "sandbox_out_of_memory",
    ]);
    expect((await worker().call("hungry", "fine")).text).toBe('"fine"');
  });

  test("everyday Python works under the filter", async () => {
    worker().lambda("workload", WORKLOAD);
    const { status, text } = await worker().call("workload", loopback ? "network" : null);
    if (status !== 200) throw new Error(`${status}: ${text}`);
    expect(JSON.parse(text)).toEqual(loopback ? [...PARTS, "network"] : PARTS);
  });
}
