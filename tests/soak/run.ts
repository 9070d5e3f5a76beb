/**
 * Soak: `bun tests/soak/run.ts --minutes N [--seed S] [--load PERCENT]`. Mixed load at about 80 % of what
 * the machine takes (less where others work on it), with kills at random and a nonce in each call, on
 * two workers: one lives through the whole run, so that a slow leak has time to show, and loses handlers,
 * spares and zygotes; the other is killed with -9 in the middle of its load and started again. What the
 * first one holds is sampled at rest after each round and must stay flat. Exit status 0 only if nothing
 * was lost, went astray or grew.
 */

import { writeSync } from "node:fs";
import { parseArgs } from "node:util";

import { CallTally } from "../helpers/nonce-calls.ts";
import { olDone } from "../helpers/ol.ts";
import { type Random, seededRandom } from "../helpers/random.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { processesBelow, type Role, signalExactly } from "../helpers/worker-processes.ts";
import { growth, sample, type Sample } from "./flat.ts";
import { capacity, oneCall, openLoop, writeLambdas } from "./mix.ts";

/** Percent of the measured capacity that is asked for, of both workers together. */
const LOAD_PERCENT = 80;
/** The part of it that the worker gets which is killed. */
const DOOMED_SHARE = 0.2;
const ROUND_MS = 20_000;
/** Each kill may cost the calls that were on what died, no more. */
const CALLS_PER_KILL_MAX = 24;

const SETTINGS = { registry_cache_ms: 500, mem_pool_mb: 2048, limits: { mem_mb: 64 } };

const VICTIMS: readonly Role[] = [
  "handler",
  "handler",
  "handler",
  "spare",
  "zygote",
  "zygote-wait",
];

/** One worker under load. */
interface Subject {
  readonly worker: TestWorker;
  readonly tally: CallTally;
  readonly kills: Map<string, number>;
}

function writeLine(text: string): void {
  // Not process.stdout: that opens a descriptor, which would look like a leak.
  writeSync(1, `${text}\n`);
}

const entries = (map: ReadonlyMap<unknown, number>): string =>
  JSON.stringify(Object.fromEntries(map));

function noteKill({ kills }: Subject, role: string): void {
  kills.set(role, (kills.get(role) ?? 0) + 1);
}

function killOne(subject: Subject, random: Random): void {
  const role = random.pick(VICTIMS);
  const candidates = processesBelow(subject.worker.pid()).filter((one) => one.role === role);
  if (candidates.length === 0) return;
  signalExactly(random.pick(candidates), "SIGKILL");
  noteKill(subject, role);
}

/** Load on the lasting worker, with kills below it. */
async function lastingRound(subject: Subject, random: Random, perSecond: number): Promise<void> {
  const state = { isOver: false };
  const killer = async (): Promise<void> => {
    while (!state.isOver) {
      await Bun.sleep(random.between(500, 3_000));
      if (!state.isOver) killOne(subject, random);
    }
  };
  const killing = killer();
  const call = (): Promise<void> => oneCall(subject.worker, random, subject.tally);
  await openLoop(perSecond, ROUND_MS, call);
  state.isOver = true;
  await killing;
}

/** Load on the other one, which is killed in the middle of it and started again. */
async function doomedRound(subject: Subject, random: Random, perSecond: number): Promise<void> {
  const { worker, tally } = subject;
  const load = openLoop(perSecond, ROUND_MS / 2, () => oneCall(worker, random, tally));
  await Bun.sleep(random.between(500, ROUND_MS / 3));
  process.kill(worker.pid(), "SIGKILL");
  noteKill(subject, "worker");
  await olDone(["workers", `--cluster=${worker.cluster}`, `--port=${worker.port}`]);
  await load;
}

function lost({ tally, kills }: Subject, name: string, allowed: readonly number[]): string[] {
  const found = tally.wrong.map((text) => `${name}: wrong answer: ${text}`);
  found.push(...tally.others(200, 502, 429, ...allowed).map((text) => `${name}: ${text}`));
  const killed = [...kills.values()].reduce((sum, count) => sum + count, 0);
  if (allowed.length === 0 && tally.count(502) > killed * CALLS_PER_KILL_MAX) {
    found.push(`${name}: too many calls failed with 502`);
  }
  return found;
}

async function soak(
  lasting: Subject,
  doomed: Subject,
  random: Random,
  { minutes, loadPercent }: { minutes: number; loadPercent: number },
): Promise<Sample[]> {
  const endMs = performance.now() + minutes * 60_000;
  const samples: Sample[] = [];
  const rate = ((await capacity(lasting.worker, random)) * loadPercent) / 100;
  writeLine(`load: ${Math.round(rate)} calls per second, ${loadPercent} % of what 8 clients get`);
  for (let round = 1; performance.now() < endMs; round++) {
    await Promise.all([
      lastingRound(lasting, random, rate * (1 - DOOMED_SHARE)),
      doomedRound(doomed, random, rate * DOOMED_SHARE),
    ]);
    const now = await sample(lasting.worker);
    samples.push(now);
    const counts = Object.fromEntries(lasting.tally.byStatus);
    writeLine(`round ${round}: ${JSON.stringify({ ...counts, ...now })}`);
  }
  return samples;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "5" },
      seed: { type: "string" },
      load: { type: "string", default: String(LOAD_PERCENT) },
    },
  });
  const random = seededRandom("soak", values.seed === undefined ? undefined : Number(values.seed));
  const subjects: Subject[] = [];
  let found: string[] = [];
  try {
    for (let index = 0; index < 2; index++) {
      const worker = await startWorker(SETTINGS);
      writeLambdas(worker);
      subjects.push({ worker, tally: new CallTally(), kills: new Map() });
    }
    const [lasting, doomed] = subjects as [Subject, Subject];
    const samples = await soak(lasting, doomed, random, {
      minutes: Number(values.minutes),
      loadPercent: Number(values.load),
    });
    // Calls on a worker that dies, and those that come before the next one listens, break off.
    found = [
      ...growth(samples),
      ...lost(lasting, "lasting", []),
      ...lost(doomed, "doomed", [0, 503]),
    ];
    for (const [name, { tally, kills }] of [
      ["lasting", lasting],
      ["doomed", doomed],
    ] as const) {
      writeLine(`${name}: ${tally.total} calls, by status ${entries(tally.byStatus)}`);
      for (const [status, texts] of tally.texts) {
        writeLine(`${name}: the first of ${status}: ${texts.join(" | ").replaceAll("\n", " ")}`);
      }
      writeLine(
        `${name}: answers that went astray: ${tally.wrong.length}; kills ${entries(kills)}`,
      );
    }
    writeLine(`first at rest: ${JSON.stringify(samples[0])}`);
    writeLine(`last at rest:  ${JSON.stringify(samples.at(-1))}`);
  } finally {
    // Both first: connections to one that lives would look like a leak of the other.
    for (const { worker } of subjects) await olDone(["kill", `--cluster=${worker.cluster}`]);
    // Compares with the time before: processes, mounts, cgroups.
    for (const { worker } of subjects) await worker.stop();
  }
  for (const text of found) writeLine(`problem: ${text}`);
  writeLine(found.length === 0 ? "soak passed" : "soak failed");
  return found.length === 0 ? 0 : 1;
}

process.exitCode = await main();
