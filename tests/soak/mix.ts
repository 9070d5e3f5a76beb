/** The load of the soak: many lambdas, some with packages, some that sleep, some with large events. */

import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import type { Random } from "../helpers/random.ts";
import type { TestWorker } from "../helpers/worker.ts";

const LAMBDAS = 60;
/** Every so many lambdas one has a package whose import is worth a zygote. */
const PACKAGE_EVERY = 12;
const CAPACITY_CLIENTS = 8;
const CAPACITY_SEC = 5;

const nameOf = (index: number): string => `mix-${index}`;

/** @param worker gets all lambdas of the mix */
export function writeLambdas(worker: TestWorker): void {
  for (let index = 0; index < LAMBDAS; index++) {
    const hasPackage = index % PACKAGE_EVERY === PACKAGE_EVERY - 1;
    const code = hasPackage ? `import requests\n${NONCE_LAMBDA}` : NONCE_LAMBDA;
    worker.lambda(nameOf(index), code, hasPackage ? { "packages.txt": "requests\n" } : {});
  }
}

/** One call as the mix has it. */
export async function oneCall(worker: TestWorker, random: Random, tally: CallTally): Promise<void> {
  const name = random.chance(0.5) ? nameOf(0) : nameOf(random.between(1, LAMBDAS - 1));
  const sleepSec = random.chance(0.1) ? 0.02 : 0;
  const more = random.chance(0.05) ? { text: "x".repeat(200_000) } : {};
  await nonceCall(worker, name, tally, { sleepSec, more });
}

/**
 * Calls everything once before: what installing packages takes is no part of what a worker can do.
 * @returns calls per second that closed loops of eight clients get
 */
export async function capacity(worker: TestWorker, random: Random): Promise<number> {
  const first = new CallTally();
  for (let index = 0; index < LAMBDAS; index++) await nonceCall(worker, nameOf(index), first);
  if (first.count(200) !== LAMBDAS) throw new Error(`warm-up: ${first.others(200).join(", ")}`);
  const tally = new CallTally();
  const untilMs = performance.now() + CAPACITY_SEC * 1000;
  const lane = async (): Promise<void> => {
    while (performance.now() < untilMs) await oneCall(worker, random, tally);
  };
  await Promise.all(Array.from({ length: CAPACITY_CLIENTS }, lane));
  return tally.total / CAPACITY_SEC;
}

/** Calls at a rate, whether answers come or not. */
export async function openLoop(
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
