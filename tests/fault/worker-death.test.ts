/** `kill -9` of a worker at any moment, and what an earlier one left: FAULTS E, rows 1 and 5. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { detectCgroups } from "../../src/cgroup/host.ts";
import { tryLock } from "../../src/sys/flock.ts";
import { expectNoLeaks, leakSnapshot } from "../helpers/leaks.ts";
import { CallTally, NONCE_LAMBDA, nonceCall } from "../helpers/nonce-calls.ts";
import { OL, olDone } from "../helpers/ol.ts";
import { seededRandom } from "../helpers/random.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import {
  isRunning,
  processesBelow,
  signalExactly,
  type WorkerProcess,
} from "../helpers/worker-processes.ts";

const KILLS = 6;

let worker: TestWorker;

beforeAll(async () => {
  // Opens the descriptor that is kept in reserve for as long as the process lives.
  detectCgroups();
  worker = await startWorker({ registry_cache_ms: 50 });
});
afterAll(() => worker.stop());

const startAgain = async (): Promise<void> => {
  await olDone(["workers", `--cluster=${worker.cluster}`, `--port=${worker.port}`]);
};

/** Calls of every kind until told to stop: warm, cold, slow, loading. */
function underLoad(tally: CallTally, round: number): () => Promise<void> {
  const load = { isOver: false };
  const loop = async (lane: number): Promise<void> => {
    for (let index = 0; !load.isOver; index++) {
      const cold = `cold-${round}-${lane}-${index}`;
      const name = lane % 2 === 0 ? "warm" : cold;
      if (name === cold) worker.lambda(cold, NONCE_LAMBDA);
      await nonceCall(worker, name, tally, { sleepSec: lane === 2 ? 0.05 : 0 });
    }
  };
  const lanes = [0, 1, 2, 3].map(loop);
  return async () => {
    load.isOver = true;
    await Promise.all(lanes);
  };
}

test(`a worker killed at ${KILLS} random moments leaves nothing and starts again`, async () => {
  const random = seededRandom("kill -9 of the worker");
  worker.lambda("warm", NONCE_LAMBDA);
  for (let round = 0; round < KILLS; round++) {
    const tally = new CallTally();
    const stop = underLoad(tally, round);
    // The moment is the point of this test; nothing is waited for.
    await Bun.sleep(random.between(0, 400));
    const pid = worker.pid();
    const before = processesBelow(pid);
    process.kill(pid, "SIGKILL");
    await waitFor(() => !before.some(isRunning), "everything in the worker died with it");
    await stop();
    expect(tally.wrong).toEqual([]);
    expect(tally.others(200, 0)).toEqual([]);
    await startAgain();
    const next = new CallTally();
    await nonceCall(worker, "warm", next);
    expect(next.others(200)).toEqual([]);
  }
});

test("paused sandboxes die with a worker that is killed", async () => {
  worker.lambda("warm", NONCE_LAMBDA);
  const paused = new CallTally();
  await nonceCall(worker, "warm", paused);
  expect(paused.others(200)).toEqual([]);
  await waitFor(async () => {
    const { live, paused: frozen } = (await worker.stats()).sandboxes;
    return live > 0 && frozen === live;
  }, "the sandbox is paused");
  const before = processesBelow(worker.pid());
  process.kill(worker.pid(), "SIGKILL");
  await waitFor(() => !before.some(isRunning), "everything in the worker died with it");
  await startAgain();
});

test("a worker killed while it starts is no obstacle to the next one", async () => {
  const random = seededRandom("kill -9 of a starting worker");
  process.kill(worker.pid(), "SIGKILL");
  for (let round = 0; round < 4; round++) {
    const config = join(worker.cluster, "config/worker-0.json");
    const child = Bun.spawn([OL, "worker-exec", "--config", config], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    await Bun.sleep(random.between(0, 150));
    const below = processesBelow(child.pid);
    child.kill("SIGKILL");
    await child.exited;
    await waitFor(() => !below.some(isRunning), "everything in the worker died with it");
  }
  await startAgain();
  const next = new CallTally();
  await nonceCall(worker, "warm", next);
  expect(next.others(200)).toEqual([]);
});

describe("what a dead worker left is removed by the next start", () => {
  /** No live worker gets this far in the list of slots. */
  const SLOT = 4000;
  const LOCK = `/run/openlambda/slot-${SLOT}.lock`;

  async function leave(how: "full" | "frozen" | "nested"): Promise<Bun.Subprocess> {
    mkdirSync("/run/openlambda", { recursive: true, mode: 0o700 });
    writeFileSync(LOCK, "");
    const root = detectCgroups().openRoot(`openlambda-${SLOT}`);
    const cgroup = root.create("cg-1");
    const child = Bun.spawn(["/bin/sleep", "1000"], { stdio: ["ignore", "ignore", "ignore"] });
    const dirs = cgroup.joinPaths.map((path) => path.replace(/\/(cgroup\.procs|tasks)$/, ""));
    for (const dir of dirs) {
      const place = how === "nested" ? join(dir, "a") : dir;
      mkdirSync(place, { recursive: true });
      writeFileSync(join(place, "cgroup.procs"), String(child.pid));
    }
    if (how === "frozen") cgroup.freeze();
    return child;
  }

  test.each(["full", "frozen", "nested"] as const)("a cgroup that is %s", async (how) => {
    const before = leakSnapshot();
    const child = await leave(how);
    try {
      process.kill(worker.pid(), "SIGKILL");
      await startAgain();
      expect(await child.exited).toBe(137);
      expect(existsSync(LOCK)).toBe(false);
      await expectNoLeaks(before, { marks: [`openlambda-${SLOT}`] });
    } finally {
      child.kill("SIGKILL");
      rmSync(LOCK, { force: true });
    }
  });
});

test("a zygote and its sandboxes die with a worker that is stopped by SIGSTOP and then killed", async () => {
  const pid = worker.pid();
  const below = processesBelow(pid);
  expect(below).not.toBeEmpty();
  process.kill(pid, "SIGSTOP");
  const frozen = below.find(({ role }) => role === "zygote-wait");
  if (frozen !== undefined) signalExactly(frozen, "SIGSTOP");
  process.kill(pid, "SIGKILL");
  await waitFor(() => !below.some(isRunning), "everything in the worker died with it");
  await startAgain();
});

/**
 * Takes the place of a worker's lock, so that no other worker of this machine cleans up after it.
 * @returns the descriptor that holds it; once it is closed, the next start cleans up
 */
function holdPlaceOf(zygote: WorkerProcess): number {
  const cgroups = readFileSync(`/proc/${zygote.pid}/cgroup`, "utf8");
  const [, slot] = /\/openlambda-(\d+)\//.exec(cgroups) ?? [];
  const lock = `/run/openlambda/slot-${slot}.lock`;
  rmSync(lock);
  const fd = openSync(lock, "a", 0o600);
  expect(tryLock(fd)).toBe(true);
  return fd;
}

test("a zygote that is stopped, and so hears of nothing, dies with a worker that is killed", async () => {
  const pid = worker.pid();
  const below = processesBelow(pid);
  const zygote = below.find(({ role }) => role === "zygote");
  if (zygote === undefined) throw new Error("there is no zygote");
  const place = holdPlaceOf(zygote);
  signalExactly(zygote, "SIGSTOP");
  process.kill(pid, "SIGKILL");
  try {
    await waitFor(() => !below.some(isRunning), "everything in the worker died with it");
  } finally {
    signalExactly(zygote, "SIGKILL");
    closeSync(place);
  }
  await startAgain();
});
