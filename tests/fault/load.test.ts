/** What a worker does when too much is asked of it: FAULTS C (idle connections) and F. No answer may go astray. */

import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect, type Socket } from "node:net";

import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import { seededRandom } from "../helpers/random.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";

setDefaultTimeout(scaled(120_000));

const IDLE_CONNECTIONS = 5_000;
const FIRST_CALLS = 1_000;

let worker: TestWorker;

afterEach(() => worker.stop());

async function start(settings: Readonly<Record<string, unknown>> = {}): Promise<void> {
  worker = await startWorker({ registry_cache_ms: 60_000, ...settings });
  worker.lambda("nonce", NONCE_LAMBDA);
}

function openConnection(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port: worker.port });
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** Runs one task after the other in each of some lanes. */
async function inLanes(lanes: number, tasks: readonly (() => Promise<unknown>)[]): Promise<void> {
  const queue = [...tasks];
  const lane = async (): Promise<void> => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) await task();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

async function untilQuiet(): Promise<void> {
  await waitFor(async () => {
    const { calls, sandboxes } = await worker.stats();
    return calls.inFlight === 0 && calls.queued === 0 && sandboxes.busy === 0;
  }, "nothing is under way");
}

test(`${IDLE_CONNECTIONS} idle connections do not keep calls from being answered`, async () => {
  await start();
  const sockets: Socket[] = [];
  try {
    const open = async (): Promise<void> => void sockets.push(await openConnection());
    await inLanes(
      50,
      Array.from({ length: IDLE_CONNECTIONS }, () => open),
    );
    const tally = new CallTally();
    await inLanes(
      8,
      Array.from({ length: 400 }, () => () => nonceCall(worker, "nonce", tally)),
    );
    expect(sockets).toHaveLength(IDLE_CONNECTIONS);
    expect(tally.others(200)).toEqual([]);
    expect(tally.wrong).toEqual([]);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});

test(`${FIRST_CALLS} first calls of ${FIRST_CALLS} lambdas at once are all answered`, async () => {
  await start({ mem_pool_mb: 4096, limits: { mem_mb: 64 } });
  const names = Array.from({ length: FIRST_CALLS }, (_, index) => `first-${index}`);
  for (const name of names) worker.lambda(name, NONCE_LAMBDA);
  const tally = new CallTally();
  await Promise.all(names.map((name) => nonceCall(worker, name, tally)));
  expect(tally.others(200)).toEqual([]);
  expect(tally.wrong).toEqual([]);
  expect((await worker.stats()).lambdas).toBe(FIRST_CALLS);
});

describe("a memory pool for ten", () => {
  test("serves 100 lambdas in turn by evicting the others", async () => {
    await start({ mem_pool_mb: 640, limits: { mem_mb: 64 } });
    const names = Array.from({ length: 100 }, (_, index) => `turn-${index}`);
    for (const name of names) worker.lambda(name, NONCE_LAMBDA);
    const tally = new CallTally();
    const calls = [...names, ...names].map((name) => () => nonceCall(worker, name, tally));
    await inLanes(4, calls);
    expect(tally.others(200)).toEqual([]);
    expect(tally.wrong).toEqual([]);
    const { memory } = await worker.stats();
    expect(memory.reservedBytes).toBeLessThanOrEqual(640 * 1024 * 1024);
  });

  test("gives a call that waits the memory of an instance as soon as that is idle", async () => {
    await start({ mem_pool_mb: 64, limits: { mem_mb: 64 } });
    worker.lambda("other", NONCE_LAMBDA);
    const first = worker.call("nonce", { sleep: 0.3 });
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 1, "the first one runs");
    const second = await worker.call("other", {});
    expect((await first).status).toBe(200);
    expect(second.status).toBe(200);
    // Idle instances are looked through only after two seconds; nobody may have to wait for that.
    const queueMs = Number(
      /queue;dur=([\d.]+)/.exec(second.headers.get("server-timing") ?? "")?.[1],
    );
    expect(queueMs).toBeLessThan(1_900);
  });

  test("pauses and unpauses under races without losing a call", async () => {
    const random = seededRandom("pause races");
    await start({ mem_pool_mb: 200, limits: { mem_mb: 64 } });
    const names = Array.from({ length: 8 }, (_, index) => `race-${index}`);
    for (const name of names) worker.lambda(name, NONCE_LAMBDA);
    const tally = new CallTally();
    const tasks = Array.from({ length: 600 }, () => {
      const sleepSec = random.chance(0.1) ? 0.01 : 0;
      const name = random.pick(names);
      return () => nonceCall(worker, name, tally, { sleepSec });
    });
    await inLanes(6, tasks);
    expect(tally.others(200)).toEqual([]);
    expect(tally.wrong).toEqual([]);
    await untilQuiet();
  });
});

describe("calls that wait", () => {
  test("give up their place when their client hangs up", async () => {
    await start({ mem_pool_mb: 64, limits: { mem_mb: 64 } });
    const tally = new CallTally();
    const first = nonceCall(worker, "nonce", tally, { sleepSec: 1.5 });
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 1, "the first one runs");
    const gone = new AbortController();
    const lost = new CallTally();
    const waiting = Array.from({ length: 50 }, () =>
      nonceCall(worker, "nonce", lost, { sleepSec: 1, signal: gone.signal }),
    );
    await waitFor(async () => (await worker.stats()).calls.queued === 50, "50 calls wait");
    gone.abort();
    await Promise.all(waiting);
    await waitFor(async () => (await worker.stats()).calls.queued === 0, "their places are free");
    expect(await first).toBe(200);
    expect(lost.others(0)).toEqual([]);
    await nonceCall(worker, "nonce", tally);
    expect(tally.others(200)).toEqual([]);
    await untilQuiet();
  });
});

describe("awkward clients", () => {
  test("that send and read slowly do not hold up others", async () => {
    await start();
    const slow = await Promise.all(Array.from({ length: 50 }, openConnection));
    const body = JSON.stringify({ nonce: 7, text: "x".repeat(2_000) });
    const head = `POST /run/nonce HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`;
    const answers = slow.map(
      (socket) =>
        new Promise<string>((resolve) => {
          let text = "";
          socket.on("data", (data) => {
            text += data.toString();
            if (text.includes(body.slice(-5))) resolve(text);
          });
        }),
    );
    for (const socket of slow) socket.write(head + body.slice(0, 10));
    const tally = new CallTally();
    await inLanes(
      8,
      Array.from({ length: 200 }, () => () => nonceCall(worker, "nonce", tally)),
    );
    expect(tally.others(200)).toEqual([]);
    for (const socket of slow) socket.write(body.slice(10));
    for (const answer of await Promise.all(answers)) expect(answer).toStartWith("HTTP/1.1 200");
    for (const socket of slow) socket.destroy();
  });

  test("with large bodies get them back unharmed, side by side with small ones", async () => {
    await start({ max_body_mb: 16, limits: { mem_mb: 512 } });
    const tally = new CallTally();
    const text = 'ü\\"x'.repeat(1_000_000);
    const large = (): Promise<number> => nonceCall(worker, "nonce", tally, { more: { text } });
    const small = (): Promise<number> => nonceCall(worker, "nonce", tally);
    await inLanes(
      6,
      Array.from({ length: 60 }, (_, index) => (index % 5 === 0 ? large : small)),
    );
    expect(tally.others(200)).toEqual([]);
    expect(tally.wrong).toEqual([]);
  });

  test("that hang up at random moments leave nothing behind", async () => {
    const random = seededRandom("hang-ups");
    await start({ mem_pool_mb: 512, limits: { mem_mb: 64 } });
    const tally = new CallTally();
    const hangUp = async (): Promise<void> => {
      const signal = AbortSignal.timeout(random.between(1, 40));
      await nonceCall(worker, "nonce", tally, { sleepSec: 0.02, signal });
    };
    await inLanes(
      16,
      Array.from({ length: 400 }, () => hangUp),
    );
    expect(tally.others(200, 0)).toEqual([]);
    expect(tally.wrong).toEqual([]);
    await untilQuiet();
    await nonceCall(worker, "nonce", tally);
    expect(tally.others(200, 0)).toEqual([]);
  });
});
