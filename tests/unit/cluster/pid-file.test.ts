import { afterEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { readPidFile, removePidFile, writePidFile } from "../../../src/cluster/pid-file.ts";
import {
  formatIdentity,
  isProcessAlive,
  type ProcessIdentity,
  signalProcess,
  tryIdentifyProcess,
  tryParseIdentity,
  waitUntilGone,
} from "../../../src/cluster/process-identity.ts";
import { useTempDir } from "./temp-dir.ts";

const temp = useTempDir();
const children: Bun.Subprocess[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
});

function sleeper(): { child: Bun.Subprocess; identity: ProcessIdentity } {
  const child = Bun.spawn(["sleep", "1000"], { stdio: ["ignore", "ignore", "ignore"] });
  children.push(child);
  const identity = tryIdentifyProcess(child.pid);
  if (identity === null) throw new Error("the sleeper does not run");
  return { child, identity };
}

const pidFile = (): string => join(temp(), "worker-0.pid");

describe("readPidFile()", () => {
  test("finds the process that was written", () => {
    const { identity } = sleeper();
    writePidFile(pidFile(), identity);
    expect(readPidFile(pidFile())).toEqual({ kind: "running", process: identity });
    expect(readFileSync(pidFile(), "utf8")).toBe(`${identity.pid}\n`);
    expect(statSync(pidFile()).mode & 0o777).toBe(0o600);
  });

  test("is absent before and after", () => {
    expect(readPidFile(pidFile())).toEqual({ kind: "absent" });
    writePidFile(pidFile(), sleeper().identity);
    removePidFile(pidFile());
    removePidFile(pidFile());
    expect(readPidFile(pidFile())).toEqual({ kind: "absent" });
    expect(existsSync(join(temp(), "worker-0.start"))).toBe(false);
  });

  test("is stale when the process has ended", async () => {
    const { child, identity } = sleeper();
    writePidFile(pidFile(), identity);
    child.kill("SIGKILL");
    await child.exited;
    expect(readPidFile(pidFile())).toEqual({ kind: "stale", pid: identity.pid });
  });

  test("is stale when the number belongs to another process now", () => {
    const { identity } = sleeper();
    writePidFile(pidFile(), { ...identity, startTicks: "1" });
    expect(readPidFile(pidFile())).toEqual({ kind: "stale", pid: identity.pid });
    writePidFile(pidFile(), { ...identity, bootId: identity.bootId.replaceAll(/./g, "0") });
    expect(readPidFile(pidFile()).kind).toBe("stale");
  });

  test("is stale when only the number is there, or the number was changed", () => {
    const { identity } = sleeper();
    writeFileSync(pidFile(), `${identity.pid}\n`);
    expect(readPidFile(pidFile()).kind).toBe("stale");
    writePidFile(pidFile(), identity);
    writeFileSync(pidFile(), `${process.pid}\n`);
    expect(readPidFile(pidFile())).toEqual({ kind: "stale", pid: process.pid });
  });

  test.each([
    ["", "is empty"],
    ["\n", "does not hold one process id"],
    ["0\n", "does not hold one process id"],
    ["1\n", "does not hold one process id"],
    ["-1\n", "does not hold one process id"],
    ["12 13\n", "does not hold one process id"],
    ["4194305\n", "does not hold one process id"],
    ["99999999999999999999\n", "does not hold one process id"],
    ["0x10\n", "does not hold one process id"],
    ["x".repeat(129), "has more than 128 bytes"],
  ])("is garbage when it holds %j", (text, why) => {
    writeFileSync(pidFile(), text);
    expect(readPidFile(pidFile())).toEqual({ kind: "garbage", why });
  });

  test("reads no more than it must of a huge file", () => {
    writeFileSync(pidFile(), "");
    truncateSync(pidFile(), 2 ** 40);
    expect(readPidFile(pidFile())).toEqual({ kind: "garbage", why: "has more than 128 bytes" });
  });

  test("neither follows a link, nor reads a directory, nor waits for a FIFO", () => {
    symlinkSync("/proc/self/stat", pidFile());
    expect(readPidFile(pidFile()).kind).toBe("garbage");
    removePidFile(pidFile());
    expect(Bun.spawnSync(["mkfifo", pidFile()]).exitCode).toBe(0);
    expect(readPidFile(pidFile())).toEqual({ kind: "garbage", why: "is not a file" });
    removePidFile(pidFile());
    mkdirSync(pidFile());
    expect(readPidFile(pidFile())).toEqual({ kind: "garbage", why: "is not a file" });
  });
});

describe("signalProcess()", () => {
  test("ends the very process", async () => {
    const { child, identity } = sleeper();
    expect(signalProcess(identity, "SIGTERM")).toBe(true);
    expect(await waitUntilGone(identity, 10_000)).toBe(true);
    await child.exited;
    expect(child.signalCode).toBe("SIGTERM");
    expect(signalProcess(identity, "SIGTERM")).toBe(false);
  });

  test("does not touch a process with the same number but another start or boot", () => {
    const { child, identity } = sleeper();
    expect(signalProcess({ ...identity, startTicks: "1" }, "SIGKILL")).toBe(false);
    const otherBoot = { ...identity, bootId: "00000000-0000-0000-0000-000000000000" };
    expect(signalProcess(otherBoot, "SIGKILL")).toBe(false);
    expect(child.killed).toBe(false);
    expect(isProcessAlive(identity)).toBe(true);
  });
});

describe("waitUntilGone()", () => {
  test("gives up after its time", async () => {
    expect(await waitUntilGone(sleeper().identity, 30)).toBe(false);
  });
});

describe("tryIdentifyProcess()", () => {
  test("sees no process in a zombie, in pid 0, in negative and in unused numbers", async () => {
    // The shell starts a child that ends at once, becomes a program that never waits for it.
    const parent = Bun.spawn(["sh", "-c", "true & echo $!; exec sleep 1000"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    children.push(parent);
    const { value } = await parent.stdout.getReader().read();
    const zombie = Number(new TextDecoder().decode(value));
    const deadlineMs = performance.now() + 5_000;
    while (tryIdentifyProcess(zombie) !== null && performance.now() < deadlineMs) {
      await Bun.sleep(1);
    }
    expect(tryIdentifyProcess(zombie)).toBeNull();
    for (const pid of [0, 1, -1, 4_194_304, Number.NaN]) {
      expect(tryIdentifyProcess(pid)).toBeNull();
    }
  });
});

test("tryParseIdentity() undoes formatIdentity() and refuses the rest", () => {
  const { identity } = sleeper();
  expect(tryParseIdentity(formatIdentity(identity))).toEqual(identity);
  for (const text of ["", "1 2", `1 2 ${identity.bootId}`, `-5 2 ${identity.bootId}`, "a b c"]) {
    expect(tryParseIdentity(text)).toBeNull();
  }
});
