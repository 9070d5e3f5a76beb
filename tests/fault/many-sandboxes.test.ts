/** More live sandboxes than a process usually has descriptors: each costs the root zygote one. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";

import type { Sandbox } from "../../src/sandbox/contract.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";
import { processesBelow } from "../helpers/worker-processes.ts";
import { EngineBench } from "./engine-bench.ts";

setDefaultTimeout(scaled(180_000));

const MANY = 1_110;
const AT_ONCE = 8;

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

/** The root zygote: the process that forks, not the one that waits for it. */
function zygotePid(): number {
  const found = processesBelow(process.pid).find(({ role }) => role === "zygote");
  if (found === undefined) throw new Error("there is no root zygote");
  return found.pid;
}

const openBy = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** Makes sandboxes until there are `count`, and calls each once. */
async function fill(sandboxes: Sandbox[], count: number): Promise<void> {
  const lane = async (): Promise<void> => {
    while (sandboxes.length < count) {
      const sandbox = await bench.create();
      sandboxes.push(sandbox);
      await bench.call(sandbox);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

/** The soft limit alone: not every root may raise a hard one. */
function limitDescriptors(pid: number, most: string): void {
  const child = Bun.spawnSync(["prlimit", `--pid=${pid}`, `--nofile=${most}:`]);
  if (!child.success) throw new Error(child.stderr.toString());
}

/** Makes and calls sandboxes until one fails; what is in stock is given out first. */
async function untilRefused(made: Sandbox[]): Promise<unknown> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      const sandbox = await bench.create();
      made.push(sandbox);
      await bench.call(sandbox);
    } catch (error) {
      return (error as { code?: unknown }).code;
    }
  }
  return "never";
}

test(`${MANY} sandboxes live at once, and all of them go on answering`, async () => {
  const zygote = zygotePid();
  const sandboxes: Sandbox[] = [];
  await fill(sandboxes, MANY);
  expect(openBy(zygote)).toBeGreaterThan(MANY);
  expect(zygotePid()).toBe(zygote);
  for (const sandbox of sandboxes) await bench.call(sandbox);
  await Promise.all(sandboxes.map((sandbox) => sandbox.destroy()));
  expect(bench.pool.live).toBe(0);
  await bench.cycle();
});

test("a root zygote without a free descriptor refuses new sandboxes alone, and works again after", async () => {
  const zygote = zygotePid();
  const own = await bench.create();
  await bench.call(own);
  await bench.atRest();
  const hard = /Max open files +\d+ +(\d+)/.exec(
    readFileSync(`/proc/${zygote}/limits`, "utf8"),
  )?.[1];
  for (const room of [0, 1, 2, 3, 4]) {
    limitDescriptors(zygote, String(openBy(zygote) + room));
    const made: Sandbox[] = [];
    // `died` where the last descriptor was missing in the child, after it had been given its lambda.
    expect(await untilRefused(made)).toBeOneOf(["sandbox_create", "sandbox_died"]);
    limitDescriptors(zygote, hard ?? "unlimited");
    await Promise.all(made.map((sandbox) => sandbox.destroy()));
    // What was refused is out of the stock once it was taken from there in vain.
    const worked = (): Promise<boolean> =>
      bench.cycle().then(Boolean.bind(null, true), () => false);
    await waitFor(worked, "a sandbox is made again");
    expect(zygotePid()).toBe(zygote);
    await bench.call(own);
  }
  await own.destroy();
});
