/** One instance: what it holds of the memory, and that everything is given back exactly once. */

import { beforeEach, describe, expect, test } from "bun:test";
import { OlError } from "../../../src/common/errors.ts";
import { Instance } from "../../../src/lambda/instance.ts";
import { CodeVersion } from "../../../src/lambda/versions.ts";
import { MemoryPool } from "../../../src/sandbox/memory-pool.ts";
import { FakeSandbox, HELD_BYTES, LIMIT_BYTES, LIMITS, settle } from "./fakes.ts";

const SPEC = {
  lambdaName: "f",
  codeDir: "/none",
  codeId: "f/1",
  packages: [],
  zygoteId: null,
  limits: LIMITS,
  network: "none",
  env: {},
  concurrency: 1,
} as const;

/** What the zygote's lease was released with. */
let released: (number | null)[];
let removed: Instance[];
let memory: MemoryPool;
let version: CodeVersion;
let sandbox: FakeSandbox;
let instance: Instance;

beforeEach(() => {
  released = [];
  removed = [];
  memory = new MemoryPool(2 * LIMIT_BYTES, () => false);
  expect(memory.tryReserve(LIMIT_BYTES)).toBe(true);
  version = new CodeVersion("f", { id: "1" }, "/none", "f/1", null);
  version.acquire();
  sandbox = new FakeSandbox("s", SPEC);
  const lease = {
    zygote: null,
    imports: [],
    release: (importUs: number | null) => {
      released.push(importUs);
    },
    failed: () => {},
  };
  instance = new Instance({ version, sandbox, limits: LIMITS, memory, lease }, (gone) => {
    removed.push(gone);
  });
});

/** Whether nothing of it is left, and was given back once. */
function expectGone(): void {
  expect([memory.reservedBytes, version.users, removed]).toEqual([0, 0, [instance]]);
  expect([sandbox.isRemoved, instance.isAlive]).toEqual([true, false]);
}

describe("memory", () => {
  test("pause() keeps what the sandbox holds and frees the rest of its limit", () => {
    expect(instance.pause()).toBe(LIMIT_BYTES - HELD_BYTES);
    expect([instance.isPaused, instance.reservedBytes]).toEqual([true, HELD_BYTES]);
    expect(memory.reservedBytes).toBe(HELD_BYTES);
  });

  test("pause() frees nothing a second time", () => {
    instance.pause();
    sandbox.heldBytes = 0;
    expect(instance.pause()).toBe(0);
    expect(memory.reservedBytes).toBe(HELD_BYTES);
  });

  test("pause() leaves one alone that runs a call", () => {
    instance.begin();
    expect(instance.pause()).toBe(0);
    expect([sandbox.state, memory.reservedBytes]).toEqual(["ready", LIMIT_BYTES]);
  });

  test("pause() never counts more than the limit, whatever the host says", () => {
    sandbox.heldBytes = 3 * LIMIT_BYTES;
    expect(instance.pause()).toBe(0);
    expect(memory.reservedBytes).toBe(LIMIT_BYTES);
  });

  test("pause() frees nothing where what is held cannot be read", () => {
    sandbox.broken.usage = new Error("EIO");
    expect(instance.pause()).toBe(0);
    expect([instance.isPaused, memory.reservedBytes]).toEqual([true, LIMIT_BYTES]);
  });

  test("pause() changes nothing where the host refuses", () => {
    sandbox.broken.pause = new Error("EIO");
    expect(() => instance.pause()).toThrow("EIO");
    expect([instance.isPaused, memory.reservedBytes]).toEqual([false, LIMIT_BYTES]);
  });

  test("tryUnpause() promises the whole limit again", () => {
    instance.pause();
    expect(instance.tryUnpause()).toBe(true);
    expect([sandbox.state, memory.reservedBytes]).toEqual(["ready", LIMIT_BYTES]);
    expect(instance.tryUnpause()).toBe(true);
    expect(memory.reservedBytes).toBe(LIMIT_BYTES);
  });

  test("tryUnpause() leaves it frozen where the memory is not free", () => {
    instance.pause();
    expect(memory.tryReserve(2 * LIMIT_BYTES - HELD_BYTES)).toBe(true);
    expect(instance.tryUnpause()).toBe(false);
    expect([sandbox.state, instance.reservedBytes]).toEqual(["paused", HELD_BYTES]);
    expect(memory.reservedBytes).toBe(2 * LIMIT_BYTES);
  });

  test("tryUnpause() that the host refuses gives everything back with the instance", async () => {
    instance.pause();
    sandbox.broken.unpause = new Error("EIO");
    expect(() => instance.tryUnpause()).toThrow("EIO");
    expect(memory.reservedBytes).toBe(LIMIT_BYTES);
    await instance.remove();
    expectGone();
  });
});

describe("the end", () => {
  test.each(["running", "paused"])(
    "remove() of one that is %s gives everything back once",
    async (how) => {
      if (how === "paused") instance.pause();
      await Promise.all([instance.remove(), instance.remove()]);
      await instance.remove();
      await settle();
      expectGone();
    },
  );

  test("one whose sandbox dies is removed by itself", async () => {
    const death = sandbox.die();
    expect(instance.isAlive).toBe(false);
    await death;
    await settle();
    expectGone();
    await instance.remove();
    expectGone();
  });

  test("remove() gives memory back only when the sandbox is gone", async () => {
    const gate = Promise.withResolvers<void>();
    sandbox.destroyGate = gate.promise;
    const removal = instance.remove();
    await settle();
    expect([instance.isAlive, memory.reservedBytes, version.users, removed]).toEqual([
      false,
      LIMIT_BYTES,
      1,
      [],
    ]);
    gate.resolve();
    await removal;
    expectGone();
  });

  test("remove() counts for nothing when whoever waits for the memory is woken", async () => {
    let seenBytes = -1;
    const waiting = memory.reserve(2 * LIMIT_BYTES, {}, new AbortController().signal);
    void waiting.then(() => {
      seenBytes = instance.reservedBytes;
      return null;
    });
    await instance.remove();
    expect(await waiting).toBe(true);
    expect([seenBytes, memory.reservedBytes]).toEqual([0, 2 * LIMIT_BYTES]);
  });

  test("pause() of one that is being removed frees nothing", async () => {
    const removal = instance.remove();
    expect(instance.pause()).toBe(0);
    await removal;
    expectGone();
  });

  test("remove() gives the lease back at once, without an import time", () => {
    void instance.remove();
    expect(released).toEqual([null]);
  });
});

describe("calls", () => {
  test("begin() says where the first call's sandbox came from, later ones are warm", () => {
    sandbox.origin = "zygote";
    expect([instance.begin(), instance.begin(), instance.busy]).toEqual(["zygote", "warm", 2]);
    instance.busy = 0;
    expect(instance.begin()).toBe("warm");
  });

  test("loaded() gives the lease back with what the imports took", () => {
    sandbox.importUs = 1_234;
    instance.loaded();
    expect(released).toEqual([1_234]);
  });

  test("one without a lease is loaded and removed all the same", async () => {
    const own = new FakeSandbox("t", SPEC);
    version.acquire();
    expect(memory.tryReserve(LIMIT_BYTES)).toBe(true);
    const bare = new Instance(
      { version, sandbox: own, limits: LIMITS, memory, lease: null },
      () => {},
    );
    bare.loaded();
    await bare.remove();
    expect([memory.reservedBytes, version.users]).toEqual([LIMIT_BYTES, 1]);
  });

  test("isAlive is false as soon as the sandbox says that it is destroyed", () => {
    const gate = Promise.withResolvers<void>();
    sandbox.destroyGate = gate.promise;
    void sandbox.die(new OlError("sandbox_out_of_memory", "too much"));
    expect(instance.isAlive).toBe(false);
  });
});
