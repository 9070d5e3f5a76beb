/**
 * What every system call goes through: the errno as a typed error, repetition after EINTR and its
 * bound, and the seam through which fault tests make calls fail.
 */

import { afterEach, describe, expect, test } from "bun:test";

import { SyscallError } from "../../../src/common/errors.ts";
import { SYSCALL_RETRIES_MAX } from "../../../src/common/limits.ts";
import { check, openLibc, pathArgument, setFaultPlan } from "../../../src/sys/libc.ts";
import { failureOf } from "./failure.ts";

const EPERM = 1;
const EINTR = 4;
const EBADF = 9;

const libc = openLibc({ dup2: { args: ["i32", "i32"], returns: "i32" } });

const noArgs = (): string => "";

afterEach(() => setFaultPlan(null));

describe("openLibc()", () => {
  test("throws with the reason when the library lacks a function", () => {
    const open = (): unknown => openLibc({ no_such_function: { args: [], returns: "i32" } });
    expect(open).toThrow("Cannot open the C library");
    try {
      open();
    } catch (error) {
      expect((error as Error).cause).toBeInstanceOf(Error);
    }
  });
});

describe("check()", () => {
  test("returns what the call returned, as a number", () => {
    expect(check("call", noArgs, () => 0)).toBe(0);
    expect(check("call", noArgs, () => 7)).toBe(7);
    expect(check("call", noArgs, () => 2n ** 40n)).toBe(2 ** 40);
  });

  test("throws the errno of the call that failed", () => {
    const error = failureOf(() =>
      check(
        "dup2",
        () => "-1, 5",
        () => libc.dup2(-1, 5),
      ),
    );
    expect(error).toMatchObject({
      name: "SyscallError",
      code: "syscall",
      call: "dup2",
      op: "dup2",
      errno: EBADF,
      errnoName: "EBADF",
      message: "Cannot dup2(-1, 5): EBADF",
      details: { call: "dup2", errno: EBADF, errnoName: "EBADF", args: "-1, 5" },
      retryable: false,
    });
    expect(error).toBeInstanceOf(SyscallError);
  });

  test("takes a negative bigint for a failure", () => {
    expect(failureOf(() => check("call", noArgs, () => (libc.dup2(-1, 5), -1n))).errno).toBe(EBADF);
  });

  test("builds the text of the arguments only when the call fails", () => {
    let built = 0;
    const args = (): string => String((built += 1));
    check("call", args, () => 0);
    expect(built).toBe(0);
    failureOf(() => check("dup2", args, () => libc.dup2(-1, 5)));
    expect(built).toBe(1);
  });

  test("lets through what the call itself throws", () => {
    const broken = (): number => {
      throw new TypeError("no such argument");
    };
    expect(() => check("call", noArgs, broken)).toThrow(TypeError);
  });
});

describe("setFaultPlan()", () => {
  test("is asked by name before each call and lets it happen at null", () => {
    const asked: string[] = [];
    setFaultPlan((call) => {
      asked.push(call);
      return null;
    });
    expect(check("first", noArgs, () => 1)).toBe(1);
    expect(check("second", noArgs, () => 2)).toBe(2);
    expect(asked).toEqual(["first", "second"]);
  });

  test("makes a call fail instead of being made", () => {
    let made = 0;
    const run = (): number => (made += 1);
    setFaultPlan((call) => (call === "mount" ? EPERM : null));
    expect(failureOf(() => check("mount", () => "a, b", run)).message).toBe(
      "Cannot mount(a, b): EPERM",
    );
    expect(made).toBe(0);
    check("umount2", noArgs, run);
    setFaultPlan(null);
    check("mount", noArgs, run);
    expect(made).toBe(2);
  });
});

describe("check() after EINTR", () => {
  /** Interrupts a call so many times; returns how often it was tried and how that ended. */
  function interrupted(times: number): { tries: number; made: number; error: SyscallError | null } {
    let tries = 0;
    let made = 0;
    setFaultPlan(() => ((tries += 1) <= times ? EINTR : null));
    try {
      check("read", noArgs, () => (made += 1));
      return { tries, made, error: null };
    } catch (error) {
      return { tries, made, error: error as SyscallError };
    }
  }

  test("makes the call again until it succeeds", () => {
    expect(interrupted(1)).toEqual({ tries: 2, made: 1, error: null });
    const most = SYSCALL_RETRIES_MAX - 1;
    expect(interrupted(most)).toEqual({ tries: SYSCALL_RETRIES_MAX, made: 1, error: null });
  });

  test("gives up at the bound", () => {
    const { tries, made, error } = interrupted(Number.POSITIVE_INFINITY);
    expect({ tries, made }).toEqual({ tries: SYSCALL_RETRIES_MAX, made: 0 });
    expect(error?.errnoName).toBe("EINTR");
  });

  test("does not repeat a call for any other errno", () => {
    let tries = 0;
    setFaultPlan(() => {
      tries += 1;
      return EBADF;
    });
    expect(failureOf(() => check("read", noArgs, () => 0)).errnoName).toBe("EBADF");
    expect(tries).toBe(1);
  });

  test("throws an errno that follows an interruption", () => {
    const planned = [EINTR, EINTR, EPERM];
    setFaultPlan(() => planned.shift() ?? null);
    expect(failureOf(() => check("read", noArgs, () => 0)).errnoName).toBe("EPERM");
    expect(planned).toEqual([]);
  });
});

describe("pathArgument()", () => {
  test("returns a path as it is", () => {
    expect(["/", "", "/tmp/ü", "relative"].map(pathArgument)).toEqual([
      "/",
      "",
      "/tmp/ü",
      "relative",
    ]);
  });

  test("refuses a NUL wherever it is, without repeating the path", () => {
    for (const path of ["\0", "/etc\0", "\0/etc", "/base\0/../etc/shadow"]) {
      const error = failureOf(() => pathArgument(path));
      expect(error).toMatchObject({ call: "path", errno: 22, errnoName: "EINVAL" });
      expect(error.message).not.toContain("\0");
      expect(error.message).not.toContain("etc");
    }
  });
});
