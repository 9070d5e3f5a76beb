/**
 * Soak: `bun tests/soak/run.ts --minutes N [--seed S]`. Mixed load on one worker at about 80 % of what
 * it can take, its processes killed at random, each call with a nonce. Memory, descriptors, mounts,
 * cgroups and processes are sampled at rest and must stay flat. Exit status 0 only if nothing was
 * lost, nothing went astray and nothing grew.
 */

import { readFileSync, readdirSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";

import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import { olDone } from "../helpers/ol.ts";
import { type Random, seededRandom } from "../helpers/random.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { processesBelow, type Role, signalExactly } from "../helpers/worker-processes.ts";

/** Share of the measured capacity that is asked for. */
const LOAD = 0.8;
const ROUND_MS = 20_000;
const LAMBDAS = 60;
/** Each kill may cost the calls that were on what died, no more. */
const CALLS_PER_KILL_MAX = 24;

/** What must stay flat, taken when nothing runs. */
interface Sample {
  readonly rssMb: number;
  readonly descriptors: number;
  readonly processes: number;
  readonly cgroups: number;
  readonly mounts: number;
}

function writeLine(text: string): void {
  // Not process.stdout: that opens a descriptor, which would look like a leak.
  writeSync(1, `${text}\n`);
}

function cgroupsOf(pid: number): number {
  const zygote = processesBelow(pid).find(({ role }) => role === "zygote");
  const text = zygote === undefined ? "" : readFileSync(`/proc/${zygote.pid}/cgroup`, "utf8");
  const name = /openlambda-\d+/.exec(text)?.[0] ?? "openlambda-none";
  const glob = new Bun.Glob(`*/${name}/*/`);
  return [...glob.scanSync({ cwd: "/sys/fs/cgroup", onlyFiles: false })].length;
}

async function sample(worker: TestWorker): Promise<Sample> {
  await waitFor(
    async () => {
      const { calls, sandboxes } = await worker.stats();
      return calls.inFlight === 0 && sandboxes.busy === 0 && sandboxes.paused === sandboxes.live;
    },
    "nothing runs",
    30_000,
  );
  const pid = worker.pid();
  const { memory } = await worker.stats();
  return {
    rssMb: Math.round(memory.workerRssBytes / 2 ** 20),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    processes: processesBelow(pid).length,
    cgroups: cgroupsOf(pid),
    mounts: readFileSync("/proc/self/mounts", "utf8").split("\n").length,
  };
}

/** One call as the mix has it. */
async function oneCall(worker: TestWorker, random: Random, tally: CallTally): Promise<void> {
  const name = random.chance(0.5) ? "mix-0" : `mix-${random.between(1, LAMBDAS - 1)}`;
  const sleepSec = random.chance(0.1) ? 0.02 : 0;
  const more = random.chance(0.05) ? { text: "x".repeat(200_000) } : {};
  await nonceCall(worker, name, tally, { sleepSec, more });
}

/** @returns calls per second that closed loops of eight clients get */
async function capacity(worker: TestWorker, random: Random): Promise<number> {
  const tally = new CallTally();
  const untilMs = performance.now() + 5_000;
  const lane = async (): Promise<void> => {
    while (performance.now() < untilMs) await oneCall(worker, random, tally);
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return tally.total / 5;
}

/** Calls at a rate, whether answers come or not. */
async function openLoop(
  perSecond: number,
  durationMs: number,
  call: () => Promise<void>,
): Promise<void> {
  const started = performance.now();
  const running: Promise<void>[] = [];
  for (let sent = 0; ;) {
    const nowMs = performance.now() - started;
    if (nowMs >= durationMs) break;
    for (; sent < (nowMs / 1000) * perSecond; sent++) running.push(call());
    await Bun.sleep(5);
  }
  await Promise.all(running);
}

const VICTIMS: readonly Role[] = [
  "handler",
  "handler",
  "handler",
  "spare",
  "zygote",
  "zygote-wait",
];

function killOne(worker: TestWorker, random: Random, kills: Map<string, number>): void {
  const role = random.pick(VICTIMS);
  const candidates = processesBelow(worker.pid()).filter((one) => one.role === role);
  if (candidates.length === 0) return;
  signalExactly(random.pick(candidates), "SIGKILL");
  kills.set(role, (kills.get(role) ?? 0) + 1);
}

/** Load with kills; a worker's own death ends the calls on it. */
async function round(
  worker: TestWorker,
  random: Random,
  run: { rate: number; tally: CallTally; kills: Map<string, number> },
): Promise<void> {
  const state = { isOver: false };
  const killer = async (): Promise<void> => {
    while (!state.isOver) {
      await Bun.sleep(random.between(500, 3_000));
      if (!state.isOver) killOne(worker, random, run.kills);
    }
  };
  const killing = killer();
  await openLoop(run.rate, ROUND_MS, () => oneCall(worker, random, run.tally));
  state.isOver = true;
  await killing;
}

async function restartAfterKill(worker: TestWorker, kills: Map<string, number>): Promise<void> {
  process.kill(worker.pid(), "SIGKILL");
  kills.set("worker", (kills.get("worker") ?? 0) + 1);
  await olDone(["workers", `--cluster=${worker.cluster}`, `--port=${worker.port}`]);
}

function problems(tally: CallTally, kills: Map<string, number>, samples: Sample[]): string[] {
  const found = tally.wrong.map((text) => `wrong answer: ${text}`);
  found.push(...tally.others(200, 502, 429).map((text) => `unexpected: ${text}`));
  const killed = [...kills.values()].reduce((sum, count) => sum + count, 0);
  if (tally.count(502) > killed * CALLS_PER_KILL_MAX) found.push("too many calls failed with 502");
  const [first] = samples;
  const last = samples.at(-1);
  if (first === undefined || last === undefined) return found;
  const bounds: Readonly<Record<keyof Sample, number>> = {
    rssMb: Math.max(first.rssMb * 1.5, first.rssMb + 80),
    // Idle lambdas hold three descriptors and a process each, and which of them live changes.
    descriptors: first.descriptors + LAMBDAS * 8 + 150,
    processes: first.processes + LAMBDAS * 2,
    cgroups: first.cgroups + LAMBDAS * 8,
    mounts: first.mounts + 8,
  };
  for (const key of Object.keys(bounds) as (keyof Sample)[]) {
    if (last[key] > bounds[key]) found.push(`${key} grew from ${first[key]} to ${last[key]}`);
  }
  return found;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { minutes: { type: "string", default: "5" }, seed: { type: "string" } },
  });
  const random = seededRandom("soak", values.seed === undefined ? undefined : Number(values.seed));
  const endMs = performance.now() + Number(values.minutes) * 60_000;
  const worker = await startWorker({
    registry_cache_ms: 500,
    mem_pool_mb: 2048,
    limits: { mem_mb: 64 },
  });
  const tally = new CallTally();
  const kills = new Map<string, number>();
  const samples: Sample[] = [];
  let found: string[] = [];
  try {
    for (let index = 0; index < LAMBDAS; index++) worker.lambda(`mix-${index}`, NONCE_LAMBDA);
    const rate = (await capacity(worker, random)) * LOAD;
    writeLine(`load: ${Math.round(rate)} calls per second, ${LOAD * 100} % of what 8 clients get`);
    samples.push(await sample(worker));
    for (let number = 1; performance.now() < endMs; number++) {
      await round(worker, random, { rate, tally, kills });
      const now = await sample(worker);
      samples.push(now);
      writeLine(
        `round ${number}: ${JSON.stringify({ ...Object.fromEntries(tally.byStatus), ...now })}`,
      );
      if (number % 4 === 0) await restartAfterKill(worker, kills);
    }
    found = problems(tally, kills, samples);
  } finally {
    // Compares with the time before: processes, mounts, cgroups.
    await worker.stop();
  }
  writeLine(
    `calls: ${tally.total}, by status ${JSON.stringify(Object.fromEntries(tally.byStatus))}`,
  );
  writeLine(`answers that went astray: ${tally.wrong.length}`);
  writeLine(`kills: ${JSON.stringify(Object.fromEntries(kills))}`);
  writeLine(`first at rest: ${JSON.stringify(samples[0])}`);
  writeLine(`last at rest:  ${JSON.stringify(samples.at(-1))}`);
  for (const text of found) writeLine(`problem: ${text}`);
  writeLine(found.length === 0 ? "soak passed" : "soak failed");
  return found.length === 0 ? 0 : 1;
}

process.exitCode = await main();
