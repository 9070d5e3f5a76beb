/** What init does to itself, in processes of their own: none of it can be undone. */

import { describe, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync, readlinkSync, writeSync } from "node:fs";

import {
  isProcessAlive,
  signalProcess,
  tryIdentifyProcess,
} from "../../../src/cluster/process-identity.ts";
import { RLIMIT_MEMLOCK } from "../../../src/sys/constants.ts";
import {
  createMemoryFile,
  duplicateTo,
  execve,
  prctl,
  setResourceLimit,
  unshare,
} from "../../../src/sys/process.ts";
import { requires } from "../../helpers/requires.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { isClosedOnExec, Lines, outputOf, ownProgram, PYTHON, startChild } from "./child.ts";
import { failureOf } from "./failure.ts";
import type { Become } from "./programs/become.ts";

const BECOME = import.meta.resolve("./programs/become.ts");
const CHILD_OF = import.meta.resolve("./programs/child-of.ts");
const DIE_WITH_PARENT = import.meta.resolve("./programs/die-with-parent.ts");

const MEMORY_NUMBER = 42;

/** What the program that was become says of itself. */
const TELL = `
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "pid": os.getpid(),
    "threads": int(status["Threads"]),
    "blocked": int(status["SigBlk"], 16),
    "argv": open("/proc/self/cmdline").read().split("\\0")[:-1],
    "env": open("/proc/self/environ").read().split("\\0")[:-1],
    "memory": os.pread(${MEMORY_NUMBER}, 1000, 0).decode(),
    "memoryName": os.readlink("/proc/self/fd/${MEMORY_NUMBER}"),
}))`;

/** Becomes Python; returns its pid before that, and what Python says. */
async function become(argv: readonly string[], env: readonly string[]) {
  const what: Become = {
    path: PYTHON,
    argv: [...argv, "-I", "-S", "-c", TELL],
    env,
    memory: { text: "kept in memory ü", number: MEMORY_NUMBER },
  };
  const output = await outputOf(startChild(ownProgram(BECOME, JSON.stringify(what))));
  const [pid = "", told = ""] = output.trim().split("\n");
  return { pid: Number(pid), told: JSON.parse(told) as Record<string, unknown> };
}

const withPython = requires({ programs: [PYTHON] });

describe("execve()", () => {
  withPython("turns the process into the program, with one thread", async () => {
    const { pid, told } = await become(["name"], []);
    expect(told).toMatchObject({ pid, threads: 1, blocked: 0 });
  });

  withPython("gives it exactly these arguments and this environment", async () => {
    const env = ["A=1", "EMPTY=", "LONG=" + "x".repeat(10_000), "ü=ö", "TWICE=1", "TWICE=2"];
    const { told } = await become(["shown as ü"], env);
    expect(told["argv"]).toEqual(["shown as ü", "-I", "-S", "-c", TELL]);
    expect(told["env"]).toEqual(env);
    expect((await become(["name"], [])).told["env"]).toEqual([]);
  });

  withPython("hands over a thousand arguments and variables in order", async () => {
    // Their addresses are stored in memory of ours; the program collects memory before the call.
    const many = Array.from({ length: 1_000 }, (_, index) => `V${index}=${"v".repeat(index % 50)}`);
    const { told } = await become(["name"], many);
    expect(told["env"]).toEqual(many);
  });

  test("throws when there is no such program, and tells neither arguments nor environment", () => {
    const error = failureOf(() => execve("/no/such", ["name", "s3cret"], ["KEY=s3cret"]));
    expect(error).toMatchObject({ call: "execve", errnoName: "ENOENT" });
    expect(error.message).toBe("Cannot execve(/no/such): ENOENT");
    expect(JSON.stringify(error)).not.toContain("s3cret");
  });

  test("refuses a NUL in the path", () => {
    expect(failureOf(() => execve("/no/such\0", ["a"], []))).toMatchObject({
      call: "path",
      errnoName: "EINVAL",
    });
  });

  test("refuses a NUL in an argument or a variable", () => {
    expect(failureOf(() => execve("/no/such", ["a\0b"], [])).errnoName).toBe("EINVAL");
    expect(failureOf(() => execve("/no/such", ["a"], ["A=\0"])).errnoName).toBe("EINVAL");
  });
});

describe("createMemoryFile()", () => {
  withPython("makes a file that the next program finds where duplicateTo() put it", async () => {
    const { told } = await become(["name"], []);
    expect(told).toMatchObject({
      memory: "kept in memory ü",
      memoryName: "/memfd:test (deleted)",
    });
  });

  test("makes an empty file with the name that is given, each time another one", () => {
    const [one, two] = [createMemoryFile("one"), createMemoryFile("one")];
    expect(isClosedOnExec(one)).toBe(false);
    writeSync(one, "text");
    expect(readlinkSync(`/proc/self/fd/${one}`)).toBe("/memfd:one (deleted)");
    expect(readFileSync(`/proc/self/fd/${one}`, "utf8")).toBe("text");
    expect(readFileSync(`/proc/self/fd/${two}`, "utf8")).toBe("");
    for (const fd of [one, two]) closeSync(fd);
  });

  test("throws when the name is longer than the kernel takes", () => {
    const error = failureOf(() => createMemoryFile("x".repeat(250)));
    expect(error).toMatchObject({ call: "memfd_create", errnoName: "EINVAL" });
  });
});

describe("duplicateTo()", () => {
  test("makes a number mean the same open file, in place of what it meant", () => {
    const fd = createMemoryFile("memory");
    const number = openSync("/dev/null", "r");
    duplicateTo(fd, number);
    writeSync(number, "one file");
    expect(readFileSync(`/proc/self/fd/${fd}`, "utf8")).toBe("one file");
    for (const each of [fd, number]) closeSync(each);
  });

  test("leaves a descriptor alone when it has the number already", () => {
    const fd = createMemoryFile("memory");
    duplicateTo(fd, fd);
    expect(readlinkSync(`/proc/self/fd/${fd}`)).toBe("/memfd:memory (deleted)");
    closeSync(fd);
  });

  test("throws when the descriptor is not open or the number cannot be", () => {
    expect(failureOf(() => duplicateTo(-1, 5)).message).toBe("Cannot dup2(-1, 5): EBADF");
    expect(failureOf(() => duplicateTo(0, -1)).errnoName).toBe("EBADF");
  });
});

describe("prctl()", () => {
  test("ends a process with its parent when asked to", async () => {
    const [, program = ""] = ownProgram(DIE_WITH_PARENT);
    const parent = startChild(ownProgram(CHILD_OF, program));
    const child = tryIdentifyProcess(Number(await new Lines(parent).next()));
    if (child === null) throw new Error("The child was gone before its parent");
    try {
      parent.kill("SIGKILL");
      await parent.exited;
      await waitFor(() => !isProcessAlive(child), "the child is gone");
    } finally {
      signalProcess(child, "SIGKILL");
    }
  });

  test("throws when the option does not exist", () => {
    expect(failureOf(() => prctl(0x7fff, 1)).message).toBe("Cannot prctl(32767, 1): EINVAL");
  });
});

describe("setResourceLimit()", () => {
  test("sets both limits", () => {
    // This process locks nothing, and what it starts is no worse off with less.
    setResourceLimit(RLIMIT_MEMLOCK, 65_536);
    const limits = readFileSync("/proc/self/limits", "utf8");
    expect(limits).toMatch(/^Max locked memory +65536 +65536 +bytes/m);
  });

  test("throws when there is no such resource", () => {
    expect(failureOf(() => setResourceLimit(99, 1)).message).toBe(
      "Cannot setrlimit(99, 1): EINVAL",
    );
  });
});

describe("unshare()", () => {
  test("throws when a flag does not exist", () => {
    expect(failureOf(() => unshare(1)).message).toBe("Cannot unshare(0x1): EINVAL");
  });
});
