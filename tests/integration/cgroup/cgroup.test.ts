/** Limits, freezing, killing and cleaning up with real processes in real cgroups of this machine. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, readdirSync } from "node:fs";

import type { Cgroup, CgroupLimits, CgroupRoot } from "../../../src/cgroup/contract.ts";
import { detectCgroups } from "../../../src/cgroup/host.ts";
import { CgroupPool } from "../../../src/cgroup/pool.ts";

const MIB = 1024 * 1024;
const LIMITS: CgroupLimits = { memoryMaxBytes: 64 * MIB, processesMax: 32, cpuPercent: 100 };
const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

const host = detectCgroups();
const usable = process.getuid?.() === 0 && host.missing.length === 0;

let root: CgroupRoot;
let count = 0;

/** A program inside `cgroup`, joined through descriptors that were opened outside. */
function run(cgroup: Cgroup, program: string): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  const fds = cgroup.openJoinFds();
  const join = `import os\nfor fd in range(3, ${3 + fds.length}): os.write(fd, b"0"); os.close(fd)\n`;
  return Bun.spawn([PYTHON, "-I", "-S", "-c", join + program], {
    stdio: ["ignore", "pipe", "pipe", ...fds],
  });
}

/**
 * One process was killed. Before Linux 6.2 or so version 2 counts it twice: as the chosen victim, and
 * again as a member of its group (`memory.oom.group`).
 */
function expectOneVictim(kills: number): void {
  expect([1, 2]).toContain(kills);
}

/** Waits for a condition instead of a time. */
async function until(what: string, condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  for (let waited = 0; !condition(); waited += 2) {
    if (waited > timeoutMs) throw new Error(`${what} did not happen within ${timeoutMs} ms`);
    await Bun.sleep(2);
  }
}

/** First line that a program prints. */
async function firstLine(process: Bun.Subprocess<"ignore", "pipe", "pipe">): Promise<string> {
  const reader = process.stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value);
  }
  reader.releaseLock();
  return text.split("\n")[0] ?? "";
}

const descriptors = (): number => readdirSync("/proc/self/fd").length;

const alive = (pid: number): boolean => existsSync(`/proc/${pid}`);

describe.skipIf(!usable)("a real cgroup", () => {
  beforeEach(() => {
    count += 1;
    root = host.openRoot(`openlambda-test-${process.pid}-${count}`);
  });

  afterEach(async () => {
    await root.reclaim();
    await root.remove();
    for (const path of root.paths) expect(existsSync(path)).toBe(false);
  });

  test("openJoinFds() lets a process join every hierarchy", async () => {
    const cgroup = root.create("join");
    const child = run(cgroup, "print('in', flush=True)\nimport time\ntime.sleep(60)");
    expect(await firstLine(child)).toBe("in");
    expect(cgroup.pids()).toEqual([child.pid]);
    for (const path of cgroup.joinPaths) {
      expect(readFileSync(path, "utf8")).toBe(`${child.pid}\n`);
    }
    expect(cgroup.openJoinFds()).toBe(cgroup.openJoinFds());
    cgroup.killAll();
    expect(await child.exited).toBe(137);
    await cgroup.waitEmpty();
    await cgroup.remove();
    await cgroup.remove();
  });

  test("setLimits() has a process over the memory limit killed and counted", async () => {
    const cgroup = root.create("memory");
    cgroup.setLimits(LIMITS);
    const child = run(cgroup, "b = bytearray(256 << 20)\nprint('survived')");
    expect(await child.exited).toBe(137);
    const usage = cgroup.usage();
    expectOneVictim(usage.outOfMemoryKills);
    expectOneVictim(cgroup.outOfMemoryKills());
    expect(usage.memoryPeakBytes).toBeGreaterThan(60 * MIB);
    expect(usage.memoryPeakBytes).toBeLessThanOrEqual(64 * MIB);
    // The control: the same program lives where the limit allows it.
    const roomy = root.create("roomy");
    roomy.setLimits({ ...LIMITS, memoryMaxBytes: 512 * MIB });
    const survivor = run(roomy, "b = bytearray(256 << 20)\nprint('survived')");
    expect(await survivor.exited).toBe(0);
    expect(roomy.outOfMemoryKills()).toBe(0);
  });

  test("setLimits() counts files on tmpfs", async () => {
    const cgroup = root.create("tmpfs");
    cgroup.setLimits(LIMITS);
    const path = `/dev/shm/openlambda-test-${process.pid}`;
    const child = run(
      cgroup,
      `f = open(${JSON.stringify(path)}, "wb")\nos.unlink(${JSON.stringify(path)})\n` +
        "for i in range(256): f.write(bytes(1 << 20))\nprint('survived')",
    );
    expect(await child.exited).toBe(137);
    expectOneVictim(cgroup.outOfMemoryKills());
  });

  test("setLimits() counts memory of the kernel", async () => {
    const cgroup = root.create("kernel");
    cgroup.setLimits({ ...LIMITS, memoryMaxBytes: 48 * MIB });
    const child = run(
      cgroup,
      [
        // Data in unix sockets is memory of the kernel; nothing of it is mapped by the process.
        "import socket",
        "keep = []",
        "for i in range(400):",
        "  pair = socket.socketpair()",
        "  keep.append(pair)",
        "  pair[0].setblocking(False)",
        "  pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)",
        "  try:",
        "    while True: pair[0].send(bytes(65536))",
        "  except BlockingIOError: pass",
        "print('survived')",
      ].join("\n"),
    );
    expect(await child.exited).toBe(137);
    expectOneVictim(cgroup.outOfMemoryKills());
  });

  test("setLimits() raises and lowers what a running process has", async () => {
    const cgroup = root.create("change");
    cgroup.setLimits(LIMITS);
    cgroup.setLimits({ memoryMaxBytes: 128 * MIB, processesMax: 8, cpuPercent: 50 });
    cgroup.setLimits({ memoryMaxBytes: 32 * MIB, processesMax: 64, cpuPercent: 200 });
    const child = run(cgroup, "b = bytearray(64 << 20)");
    expect(await child.exited).toBe(137);
  });

  test("setLimits() stops a fork bomb at processesMax and killAll() ends it", async () => {
    const cgroup = root.create("forks");
    cgroup.setLimits({ ...LIMITS, processesMax: 20 });
    const child = run(
      cgroup,
      [
        "import signal, errno",
        "for s in range(1, 65):",
        "  try: signal.signal(s, signal.SIG_IGN)",
        "  except (OSError, ValueError): pass",
        "told = False",
        "while True:",
        "  try: os.fork()",
        "  except OSError as e:",
        "    if not told: os.write(1, errno.errorcode[e.errno].encode() + b'\\n'); told = True",
      ].join("\n"),
    );
    expect(await firstLine(child)).toBe("EAGAIN");
    await until("the bomb", () => cgroup.pids().length === 20);
    const pids = cgroup.pids();
    cgroup.killAll();
    await cgroup.waitEmpty();
    await child.exited;
    expect(cgroup.isEmpty()).toBe(true);
    await until("the end of all", () => !pids.some(alive));
    await cgroup.remove();
  });

  test("freeze() stops the use of CPU and thaw() lets it go on", async () => {
    const cgroup = root.create("freeze");
    const child = run(cgroup, "print('in', flush=True)\nwhile True: pass");
    await firstLine(child);
    cgroup.freeze();
    await until("freezing", () => cgroup.isFrozen());
    const before = cgroup.usage().cpuUs;
    await Bun.sleep(100);
    expect(cgroup.usage().cpuUs).toBe(before);
    cgroup.freeze();
    cgroup.thaw();
    cgroup.thaw();
    expect(cgroup.isFrozen()).toBe(false);
    await until("running again", () => cgroup.usage().cpuUs > before + 10_000);
    cgroup.killAll();
    await cgroup.waitEmpty();
  });

  test("killAll() ends what is frozen", async () => {
    const cgroup = root.create("frozen");
    const child = run(cgroup, "print('in', flush=True)\nwhile True: pass");
    await firstLine(child);
    cgroup.freeze();
    cgroup.killAll();
    expect(await child.exited).toBe(137);
    await cgroup.waitEmpty();
    expect(cgroup.isFrozen()).toBe(false);
  });

  test("killAll() ends a process that has joined only some hierarchies, and no other", async () => {
    const cgroup = root.create("half");
    const neighbour = root.create("neighbour");
    const other = run(neighbour, "print('in', flush=True)\nimport time\ntime.sleep(60)");
    await firstLine(other);
    const last = cgroup.joinPaths.at(-1) ?? "";
    const half = Bun.spawn(["sh", "-c", 'echo 0 > "$0" && echo in && exec sleep 60', last], {
      stdout: "pipe",
    });
    const { value } = await half.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("in\n");
    cgroup.killAll();
    await cgroup.waitEmpty();
    expect(await half.exited).toBe(137);
    expect(other.exitCode).toBe(null);
    expect(neighbour.pids()).toEqual([other.pid]);
  });

  test("usage() tells CPU time and throttling, resetUsage() forgets them", async () => {
    const cgroup = root.create("usage");
    cgroup.setLimits({ ...LIMITS, cpuPercent: 10 });
    const child = run(cgroup, "b = bytearray(8 << 20)\nwhile True: pass");
    await until("throttling", () => cgroup.usage().throttledUs > 50_000);
    cgroup.killAll();
    await child.exited;
    const usage = cgroup.usage();
    expect(usage.cpuUs).toBeGreaterThan(5_000);
    expect(usage.memoryPeakBytes).toBeGreaterThan(MIB);
    await cgroup.waitEmpty();
    if (!cgroup.resetUsage(cgroup.usage())) return;
    const fresh = cgroup.usage();
    expect(fresh.cpuUs).toBeLessThan(1_000);
    expect(fresh.throttledUs).toBe(0);
    expect(fresh.memoryPeakBytes).toBeLessThan(usage.memoryPeakBytes);
  });

  test("reclaim() removes what a dead worker left: frozen, full and nested", async () => {
    const left = root.create("left");
    const child = run(left, "print('in', flush=True)\nwhile True: pass");
    await firstLine(child);
    left.freeze();
    left.closeJoinFds();
    for (const path of root.paths) {
      await Bun.$`mkdir -p ${path}/nested/deeper`.quiet();
    }
    const deep = `${root.paths[0]}/nested/deeper/cgroup.procs`;
    const nested = Bun.spawn(["sh", "-c", 'echo 0 > "$0" && exec sleep 60', deep]);
    await until("joining", () => readFileSync(deep, "utf8") !== "");
    const again = host.openRoot(root.name);
    expect((await again.reclaim()).toSorted()).toEqual(["left", "nested", "nested/deeper"]);
    expect(await child.exited).toBe(137);
    expect(await nested.exited).toBe(137);
    expect(await again.reclaim()).toEqual([]);
  });

  test("reclaim() ends a process that a dead worker left in one hierarchy only", async () => {
    const last = root.create("half-left").joinPaths.at(-1) ?? "";
    const half = Bun.spawn(["sh", "-c", 'echo 0 > "$0" && exec sleep 60', last]);
    await until("joining", () => readFileSync(last, "utf8") !== "");
    expect(await host.openRoot(root.name).reclaim()).toContain("half-left");
    expect(await half.exited).toBe(137);
  });

  test("CgroupPool release() gives the next borrower one that looks new", async () => {
    const failures: unknown[] = [];
    const pool = new CgroupPool(root, 2, LIMITS, (error) => failures.push(error));
    await until("stock", () => pool.ready === 1); // half of it; the rest is what comes back
    const names = new Set<string>();
    for (let round = 0; round < 6; round += 1) {
      const cgroup = pool.acquire();
      names.add(cgroup.name);
      cgroup.setLimits({ memoryMaxBytes: 16 * MIB, processesMax: 4, cpuPercent: 10 });
      const child = run(cgroup, "b = bytearray(64 << 20)");
      expect(await child.exited).toBe(137);
      expectOneVictim(cgroup.outOfMemoryKills());
      await pool.release(cgroup);
      const next = pool.acquire();
      expect(next.usage()).toMatchObject({ outOfMemoryKills: 0, throttledUs: 0 });
      const survivor = run(next, "b = bytearray(32 << 20)");
      expect(await survivor.exited).toBe(0);
      await pool.release(next);
    }
    await pool.close();
    expect(failures).toEqual([]);
    expect(pool.lent).toBe(0);
  });
});

test.skipIf(!usable)("a pool leaves no directory and no descriptor after 200 rounds", async () => {
  const own = host.openRoot(`openlambda-test-${process.pid}-pool`);
  const before = descriptors();
  const pool = new CgroupPool(own, 4, LIMITS, () => {});
  for (let round = 0; round < 50; round += 1) {
    const batch = Array.from({ length: 4 }, () => pool.acquire());
    await Promise.all(batch.map((cgroup) => pool.release(cgroup)));
  }
  await pool.close();
  await own.remove();
  expect(descriptors()).toBe(before);
  for (const path of own.paths) expect(existsSync(path)).toBe(false);
});
