/** A host that refuses to kill a sandbox for a while: what that sandbox has is nobody else's until it is dead. */

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { waitFor } from "../helpers/wait-for.ts";
import { processesBelow } from "../helpers/worker-processes.ts";
import { EngineBench } from "./engine-bench.ts";
import { failingCgroupIo, Injector } from "./injector.ts";

const injector = new Injector();
let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open({ io: failingCgroupIo(injector) });
});
afterEach(() => injector.disarm());
afterAll(() => bench.close());

/** What a process prints to, or null where it is gone. */
function outputOf(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/fd/1`);
  } catch {
    return null;
  }
}

test("output files of a sandbox that is still alive are not given to another", async () => {
  const codeDir = join(bench.clusterDir, "silent");
  mkdirSync(codeDir);
  // Its end of the socket closes: only the kernel's kill ends what goes on in a child of it.
  const code = `
import os, time
def handler(event):
    if event is None and os.fork() == 0:
        time.sleep(600)
    return event
`;
  writeFileSync(join(codeDir, "lambda_func.py"), code);
  const silent = { codeDir, codeId: "silent-1", lambdaName: "silent" };
  const rest = await bench.atRest();
  const sandbox = await bench.create(silent);
  await sandbox.call(Buffer.from("null"), 10_000);
  const own = processesBelow(process.pid).filter(({ pid }) =>
    outputOf(pid)?.includes("/handlers/silent/"),
  );
  expect(own.length).toBeGreaterThan(0);
  const pid = own.at(-1)?.pid ?? 0;
  const files = outputOf(pid);
  injector.arm((call) => (call.startsWith("cgroup") ? "EPERM" : null));
  await sandbox.destroy();
  expect(bench.pool.live).toBe(0);
  // Where they were recycled, the directory was renamed into the stock, or to another sandbox. The end of
  // its namespace may have ended it in spite of the host: then it has no files to share.
  expect(outputOf(pid)).toBeOneOf([files, null]);
  injector.disarm();
  await waitFor(() => outputOf(pid) === null, "it is killed after all");
  await bench.cycle();
  await bench.expectAtRest(rest);
});
