/** Small facts of the runtime that the source takes for granted, and that would break silently. */

import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";

import { errnoNameOf } from "../../../src/common/errors.ts";
import { LOG_BUFFER_MAX_BYTES } from "../../../src/common/limits.ts";
import { tempDir } from "../../helpers/temp-dir.ts";

describe("writeSync()", () => {
  test("takes a part, and throws EAGAIN once nothing fits, where a pipe may not block", () => {
    using dir = tempDir();
    expect(Bun.spawnSync(["mkfifo", dir.join("pipe")]).exitCode).toBe(0);
    const fd = openSync(dir.join("pipe"), constants.O_RDWR | constants.O_NONBLOCK);
    try {
      const block = Buffer.alloc(LOG_BUFFER_MAX_BYTES, "x");
      const taken = writeSync(fd, block);
      expect(taken).toBeGreaterThan(0);
      expect(taken).toBeLessThan(block.length);
      const write = (): unknown => {
        try {
          return writeSync(fd, block);
        } catch (error) {
          return errnoNameOf(error);
        }
      };
      expect(write()).toBe("EAGAIN");
      expect(readSync(fd, block)).toBe(taken);
      expect(write()).toBe(taken);
    } finally {
      closeSync(fd);
    }
  });
});

describe("Atomics.wait()", () => {
  test("may block the main thread: short waits for the kernel are made so", () => {
    const cell = new Int32Array(new SharedArrayBuffer(4));
    expect(Atomics.wait(cell, 0, 0, 1)).toBe("timed-out");
  });
});

describe("Bun.hash.crc32()", () => {
  test("is the CRC of zip and S3, and goes on from an earlier part", () => {
    const text = "123456789";
    expect(Bun.hash.crc32(text)).toBe(0xcbf43926);
    for (let at = 0; at <= text.length; at += 1) {
      expect(Bun.hash.crc32(text.slice(at), Bun.hash.crc32(text.slice(0, at)))).toBe(0xcbf43926);
    }
  });
});

describe("process.exit()", () => {
  test("runs the exit hooks, which write what a log still holds", () => {
    const program = `process.on("exit", () => require("node:fs").writeSync(1, "last line"));
      process.exit(3);`;
    const child = Bun.spawnSync([process.execPath, "-e", program], { cwd: "/" });
    expect([child.exitCode, child.stdout.toString()]).toEqual([3, "last line"]);
  });
});
