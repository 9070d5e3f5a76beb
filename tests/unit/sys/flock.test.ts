/** Locks that end with their process, which is how a dead worker is told from a living one. */

import { describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";

import { tryLock } from "../../../src/sys/flock.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { Lines, ownProgram, startChild } from "./child.ts";
import { failureOf } from "./failure.ts";

const HOLDER = import.meta.resolve("./programs/lock-holder.ts");

describe("tryLock()", () => {
  test("returns false while another process holds the file, true once that is dead", async () => {
    using dir = tempDir();
    const path = dir.join("lock");
    const holder = startChild(ownProgram(HOLDER, path));
    expect(await new Lines(holder).next()).toBe("held");
    const fd = openSync(path, "a");
    try {
      expect(tryLock(fd)).toBe(false);
      holder.kill("SIGKILL");
      await holder.exited;
      expect(tryLock(fd)).toBe(true);
    } finally {
      closeSync(fd);
    }
  });

  test("keeps another process out until the file is closed", async () => {
    using dir = tempDir();
    const path = dir.join("lock");
    const fd = openSync(path, "a");
    expect(tryLock(fd)).toBe(true);
    const refused = startChild(ownProgram(HOLDER, path));
    expect(await new Lines(refused).next()).toBe("refused");
    closeSync(fd);
    const holder = startChild(ownProgram(HOLDER, path));
    expect(await new Lines(holder).next()).toBe("held");
    for (const child of [refused, holder]) child.kill("SIGKILL");
    await Promise.all([refused.exited, holder.exited]);
  });

  test("holds against another opening of the file in the same process", () => {
    using dir = tempDir();
    const [first, second] = [openSync(dir.join("lock"), "a"), openSync(dir.join("lock"), "a")];
    expect([tryLock(first), tryLock(first), tryLock(second)]).toEqual([true, true, false]);
    closeSync(first);
    expect(tryLock(second)).toBe(true);
    closeSync(second);
  });

  test("throws when the descriptor is not open", () => {
    expect(failureOf(() => tryLock(-1))).toMatchObject({
      errnoName: "EBADF",
      message: "Cannot flock(-1, LOCK_EX | LOCK_NB): EBADF",
    });
  });
});
