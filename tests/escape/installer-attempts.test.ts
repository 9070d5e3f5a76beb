/** What installs packages, attempting what a handler must not do. */

import { afterAll, beforeAll, expect, test } from "bun:test";

import { EngineBench, INSTALLER_LIMITS } from "../fault/engine-bench.ts";
import { outside, programArgv } from "./attempts.ts";
import { refusedOutright } from "./syscall-attempts.ts";

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

/** Runs an attempt as what installs packages does; the last line that it prints is its answer. */
async function insideInstaller(code: string, event: unknown): Promise<unknown> {
  const { outcome, stdout } = await bench.pool.run({
    argv: programArgv(code, event),
    env: {},
    mounts: [],
    limits: INSTALLER_LIMITS,
    files: {},
  });
  expect(outcome).toBe("exited");
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

test("the filters refuse an installer what they refuse a handler", async () => {
  const { code, event, named } = refusedOutright();
  const found = named(await insideInstaller(code, event));
  expect(found).toEqual(Object.fromEntries(Object.keys(found).map((name) => [name, "EPERM"])));
});

/** As the interpreter of a package's set-up script would find them. */
const DESCRIPTORS = "return sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1]";

test("an installer's program gets its three streams and no other descriptor", async () => {
  expect(await insideInstaller(DESCRIPTORS, null)).toEqual([0, 1, 2]);
  expect(outside(DESCRIPTORS)).toEqual([0, 1, 2]);
});
