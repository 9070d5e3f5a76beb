/**
 * What a child of the worker gets: the descriptors that are meant for it and no others, the
 * environment that is given and no more, a session of its own where that is asked for.
 */

import { describe, expect, test } from "bun:test";
import { closeSync, copyFileSync, readdirSync, writeSync } from "node:fs";

import { signalProcess, tryIdentifyProcess } from "../../../src/cluster/process-identity.ts";
import { errnoNameOf } from "../../../src/common/errors.ts";
import { createMemoryFile } from "../../../src/sys/process.ts";
import { requires } from "../../helpers/requires.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { Lines, outputOf, ownProgram, PYTHON, startChild } from "../../unit/sys/child.ts";

const AGAIN = import.meta.resolve("./programs/again.ts");
const CHILD_OF = import.meta.resolve("../../unit/sys/programs/child-of.ts");
const ORPHAN = import.meta.resolve("./programs/orphan.ts");

/** What a child says of itself. */
interface Told {
  readonly pid: number;
  readonly files: Readonly<Record<string, string>>;
  readonly texts: readonly string[];
  readonly env: readonly string[];
  readonly argv0: string;
  readonly session: number;
  readonly group: number;
  readonly workingDir: string;
  readonly blocked: number;
}

const TELL = `
import json, os
fds = [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + fd)]
files = {fd: os.readlink("/proc/self/fd/" + fd) for fd in fds}
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "pid": os.getpid(),
    "files": files,
    "texts": [os.pread(int(fd), 99, 0).decode() for fd in files if "memfd" in files[fd]],
    "env": open("/proc/self/environ").read().split("\\0")[:-1],
    "argv0": open("/proc/self/cmdline").read().split("\\0")[0],
    "session": os.getsid(0),
    "group": os.getpgid(0),
    "workingDir": os.getcwd(),
    "blocked": int(status["SigBlk"], 16),
}))`;

interface TellOptions {
  readonly argv0?: string;
  readonly cwd?: string;
  readonly detached?: boolean;
  readonly env?: Record<string, string | undefined>;
  /** What it is to find from 3 on. */
  readonly fds?: readonly (number | null)[];
}

async function tell({ fds = [], ...options }: TellOptions = {}): Promise<Told> {
  const stdio = ["ignore", "pipe", "inherit", ...fds] as ["ignore", "pipe", "inherit"];
  const child = Bun.spawn([PYTHON, "-I", "-S", "-c", TELL], { ...options, stdio });
  const told = JSON.parse(await child.stdout.text()) as Told;
  expect([await child.exited, told.pid]).toEqual([0, child.pid]);
  return told;
}

function memoryFile(text: string): number {
  const fd = createMemoryFile(text);
  writeSync(fd, text);
  return fd;
}

const withPython = requires({ programs: [PYTHON] });

describe("a child of Bun.spawn()", () => {
  withPython(
    "has the given descriptors from 3 on, and no other, close-on-exec or not",
    async () => {
      const [secret, first, second] = ["secret", "first", "second"].map(memoryFile) as [
        number,
        number,
        number,
      ];
      const { files, texts } = await tell({ fds: [first, null, second, first] });
      const { 0: stdin, 1: _out, 2: _err, ...rest } = files;
      expect(stdin).toBe("/dev/null");
      expect(rest).toEqual({
        3: "/memfd:first (deleted)",
        5: "/memfd:second (deleted)",
        6: "/memfd:first (deleted)",
      });
      expect(texts.toSorted()).toEqual(["first", "first", "second"]);
      // Ours stay open, for us to close.
      for (const fd of [secret, first, second]) closeSync(fd);
    },
  );

  withPython("has exactly the environment that is given", async () => {
    expect((await tell({ env: { A: "1", B: undefined, ü: "ö" } })).env).toEqual(["A=1", "ü=ö"]);
    expect((await tell({ env: {} })).env).toEqual([]);
  });

  withPython("is called what argv0 says, and runs the file of the command", async () => {
    expect((await tell({ argv0: "ol-init" })).argv0).toBe("ol-init");
    expect((await tell()).argv0).toBe(PYTHON);
  });

  withPython("leads a session of its own when it is detached, else it shares ours", async () => {
    const own = await tell({ detached: true, cwd: "/" });
    expect(own).toMatchObject({ session: own.pid, group: own.pid, workingDir: "/" });
    const shared = await tell();
    expect(shared.session).not.toBe(shared.pid);
    expect(shared.group).not.toBe(shared.pid);
  });

  withPython("starts with no signal blocked", async () => {
    expect((await tell()).blocked).toBe(0);
  });

  test("that a signal ended has 128 and the signal for its status", async () => {
    for (const [signal, status] of [
      ["SIGKILL", 137],
      ["SIGTERM", 143],
    ] as const) {
      const child = Bun.spawn(["sleep", "60"]);
      child.kill(signal);
      expect(await child.exited).toBe(status);
      expect({ code: child.exitCode, signal: child.signalCode }).toEqual({ code: null, signal });
    }
  });

  test("is ended by its timeout with the signal that is given", async () => {
    const options = { timeout: 20, killSignal: "SIGKILL" } as const;
    const child = Bun.spawn(["sleep", "60"], options);
    expect([await child.exited, child.signalCode]).toEqual([137, "SIGKILL"]);
    const { signalCode, success } = Bun.spawnSync(["sleep", "60"], options);
    expect({ signalCode, success }).toEqual({ signalCode: "SIGKILL", success: false });
  });

  test("that cannot be started is an exception at once, and leaves no descriptor", () => {
    const count = (): number => readdirSync("/proc/self/fd").length;
    const failure = (command: string, fd: number): unknown => {
      try {
        return Bun.spawn([command], { stdio: ["ignore", "pipe", "pipe", fd] }).pid;
      } catch (error) {
        return errnoNameOf(error);
      }
    };
    expect(failure("/no/such/program", 0)).toBe("ENOENT");
    const before = count();
    expect(failure("/no/such/program", 0)).toBe("ENOENT");
    expect(failure("/bin/true", 1_000_000)).toBe("EBADF");
    expect(count()).toBe(before);
  });
});

describe("this program", () => {
  test("can start itself again when its file is gone, under a name of its choice", async () => {
    using dir = tempDir();
    const executable = dir.join("runtime");
    copyFileSync(process.execPath, executable);
    const [, program = ""] = ownProgram(AGAIN);
    const output = await outputOf(startChild([executable, program, executable]));
    expect(JSON.parse(output)).toEqual({ argv0: "ol-again", exists: false });
  });

  test("is told of its parent's end by process.ppid, whenever it asks", async () => {
    const [, program = ""] = ownProgram(ORPHAN);
    const parent = startChild(ownProgram(CHILD_OF, program));
    const lines = new Lines(parent);
    const [pid, before] = (await lines.next()).split(" ").map(Number) as [number, number];
    const orphan = tryIdentifyProcess(pid);
    try {
      expect(before).toBe(parent.pid);
      parent.kill("SIGKILL");
      const [, after] = (await lines.next()).split(" ").map(Number) as [number, number];
      expect(after).not.toBe(parent.pid);
    } finally {
      parent.kill("SIGKILL");
      if (orphan !== null) signalProcess(orphan, "SIGKILL");
    }
    await waitFor(() => tryIdentifyProcess(pid) === null, "the orphan is gone");
    await parent.exited;
  });
});
