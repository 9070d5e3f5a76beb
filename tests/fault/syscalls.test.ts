/**
 * Every system call of making and removing a sandbox fails in turn, then some of them by seed:
 * FAULTS E, row 4. After each nothing may be left and the next call is answered.
 */

import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";

import { detectCgroups } from "../../src/cgroup/host.ts";
import { OlError } from "../../src/common/errors.ts";
import { expectNoLeaks, type LeakSnapshot, leakSnapshot } from "../helpers/leaks.ts";
import { seededRandom } from "../helpers/random.ts";
import { EngineBench } from "./engine-bench.ts";
import { ERRNO_NAMES, failingCgroupIo, Injector } from "./injector.ts";
import { scaled } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(120_000));

const injector = new Injector();

let bench: EngineBench;
let rest: Awaited<ReturnType<EngineBench["atRest"]>>;
let before: LeakSnapshot;

beforeAll(async () => {
  // Opens the descriptor that is kept in reserve for as long as the process lives.
  detectCgroups();
  before = leakSnapshot();
  bench = await EngineBench.open({ io: failingCgroupIo(injector) });
  rest = await bench.atRest();
});
afterEach(() => {
  injector.disarm();
});
afterAll(async () => {
  await bench.close();
  await expectNoLeaks(before, { marks: ["ol-engine-"] });
});

/** One life of a sandbox under faults, then an ordinary one. */
async function survives(describeFault: () => string): Promise<void> {
  let failure: unknown = null;
  try {
    await bench.cycle();
  } catch (error) {
    failure = error;
  }
  // What goes on in the background, such as filling up the stock, is part of it.
  await Bun.sleep(0);
  injector.disarm();
  const what = describeFault();
  if (failure !== null && !(failure instanceof OlError)) {
    throw new Error(`${what}: failed with no error of ours`, { cause: failure });
  }
  try {
    await bench.cycle();
    await bench.expectAtRest(rest);
  } catch (cause) {
    throw new Error(`${what}: something is left or broken`, { cause });
  }
}

test("a sandbox's life makes the calls that are made to fail below", async () => {
  injector.arm(() => null);
  await bench.cycle();
  const seen = new Set(injector.seen);
  for (const call of ["open_tree", "mount_setattr", "sendmsg", "socketpair", "cgroup write"]) {
    expect(seen).toContain(call);
  }
});

describe("one failing call", () => {
  test.each(ERRNO_NAMES)(
    "is survived wherever it happens, with %s",
    async (name) => {
      injector.arm(() => null);
      await bench.cycle();
      await bench.expectAtRest(rest);
      const { length } = injector.seen;
      injector.disarm();
      for (let at = 0; at < length; at++) {
        let hit = "nothing";
        injector.arm((call, index) => {
          if (index !== at) return null;
          hit = call;
          return name;
        });
        await survives(() => `${name} at call ${at}, ${hit}`);
      }
    },
    120_000,
  );
});

test("random failures are survived", async () => {
  const random = seededRandom("failing calls");
  for (let round = 0; round < 60; round++) {
    const probability = random.pick([0.02, 0.1, 0.5]);
    injector.arm(() => (random.chance(probability) ? random.pick(ERRNO_NAMES) : null));
    await survives(() => `round ${round} with probability ${probability}`);
  }
});

test("a call that always fails does not stop the engine for good", async () => {
  for (const call of ["open_tree", "mount_setattr", "sendmsg", "socketpair"]) {
    injector.arm((name) => (name === call ? "ENOMEM" : null));
    for (let index = 0; index < 12; index++) await bench.cycle().catch(() => {});
    await survives(() => `${call} always fails`);
  }
});
