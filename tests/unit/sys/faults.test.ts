/**
 * That no call of `src/sys` goes around `check`: fault tests could not make it fail, and its error
 * would be another one. What the errors say is shown to operators, so it holds no payloads.
 */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { tryLock } from "../../../src/sys/flock.ts";
import { setFaultPlan } from "../../../src/sys/libc.ts";
import {
  bindMount,
  mount,
  openTreeClone,
  pivotInto,
  setDetachedMountAttributes,
  setMountTreeAttributes,
} from "../../../src/sys/mount.ts";
import { createMemoryFile, duplicateTo, execve, prctl, unshare } from "../../../src/sys/process.ts";
import { preferSecondListener } from "../../../src/sys/reuse-port.ts";
import { sendWithFds, socketPair } from "../../../src/sys/socket.ts";
import { type TempDir, tempDir } from "../../helpers/temp-dir.ts";
import { failureOf } from "./failure.ts";

const EIO = 5;
const SECRET = "s3cret";

/** No call is made; where one were, its arguments are such that it would fail or change nothing. */
const CALLS: readonly (readonly [call: string, run: () => unknown])[] = [
  ["flock", () => tryLock(-1)],
  ["mount", () => mount("none", "/no/such", "tmpfs", 0, "size=64k")],
  ["mount", () => bindMount("/no/such", "/no/such/either")],
  ["open_tree", () => openTreeClone("/no/such")],
  ["mount_setattr", () => setDetachedMountAttributes(-1, 1n)],
  ["mount_setattr", () => setMountTreeAttributes("/no/such", 1n)],
  ["pivot_root", () => pivotInto(temp.path)],
  ["unshare", () => unshare(0)],
  ["prctl", () => prctl(0x7fff, 0)],
  ["memfd_create", () => createMemoryFile("x".repeat(250))],
  ["dup2", () => duplicateTo(-1, -1)],
  ["execve", () => execve("/no/such", [SECRET], [`KEY=${SECRET}`])],
  ["setsockopt", () => preferSecondListener(-1)],
  ["socketpair", () => socketPair(0)],
  ["sendmsg", () => sendWithFds(-1, Buffer.from(SECRET), [-1])],
];

const startDir = process.cwd();
let temp: TempDir;

beforeEach(() => {
  temp = tempDir();
});
afterEach(() => {
  setFaultPlan(null);
  process.chdir(startDir);
  temp.remove();
});

describe("setFaultPlan()", () => {
  test.each(CALLS)("makes %s fail before it is made", (call, run) => {
    const asked: string[] = [];
    setFaultPlan((name) => {
      asked.push(name);
      return EIO;
    });
    const error = failureOf(run);
    expect(asked).toEqual([call]);
    expect(error).toMatchObject({ call, op: call, errnoName: "EIO" });
    expect(error.message).toStartWith(`Cannot ${call}(`);
    expect(error.message).toEndWith("): EIO");
    expect(`${error.message} ${JSON.stringify(error.details)}`).not.toContain(SECRET);
  });
});
