/**
 * Memory and errno under `bun:ffi`. Small typed arrays live on the collected heap, and their
 * storage moves when their buffer is first asked for or when a caller is compiled; a pointer that
 * was kept then points at somebody else's memory. The loops are long enough to be compiled several
 * times.
 */

import { ptr, read, type Pointer } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";

import { openLibc } from "../../../src/sys/libc.ts";
import { outputOf, ownProgram, startChild } from "../../unit/sys/child.ts";
import { disturb, ROUNDS } from "./disturb.ts";

const KEPT_POINTER = import.meta.resolve("./programs/kept-pointer.ts");

const libc = openLibc({
  memset: { args: ["ptr", "i32", "u64"], returns: "ptr" },
  memcpy: { args: ["ptr", "ptr", "u64"], returns: "ptr" },
  strlen: { args: ["cstring"], returns: "u64" },
  close: { args: ["i32"], returns: "i32" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
  __errno_location: { args: [], returns: "ptr" },
});

describe("a kept pointer to an array", () => {
  test.each([8, 16, 64, 1000, 4096])(
    "with an ArrayBuffer of its own, of %d bytes, stays true",
    async (length) => {
      const child = startChild(ownProgram(KEPT_POINTER, String(length)));
      expect(await outputOf(child)).toBe("0");
    },
  );

  test("stays true inside other memory, as in an array of strings for C", () => {
    const texts = Array.from({ length: 64 }, (_, index) => Buffer.from(`text number ${index}`));
    const kept = texts.map((text) => {
      const own = new Uint8Array(new ArrayBuffer(text.length));
      own.set(text);
      return own;
    });
    const pointers = BigUint64Array.from(kept, (own) => BigInt(ptr(own)));
    const into = new Uint8Array(new ArrayBuffer(64));
    let wrong = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      disturb(round);
      const text = texts[round % 64] as Buffer;
      libc.memcpy(into, Number(pointers[round % 64]) as Pointer, text.length);
      if (!text.equals(into.subarray(0, text.length))) wrong += 1;
    }
    expect(wrong).toBe(0);
    // Without a later use of the list, its arrays are collected under the pointers.
    expect(kept.length).toBe(64);
  });
});

describe("an array given as the argument itself", () => {
  test("is where the call finds it, also after its storage has moved", () => {
    const bytes = new Uint8Array(8);
    const fill = (value: number): boolean => {
      libc.memset(bytes, value, 8);
      return bytes[0] === value && bytes[7] === value;
    };
    let wrong = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      disturb(round);
      // Asking for the buffer moves what is not yet in one.
      if (round === 100) expect(bytes.buffer.byteLength).toBe(8);
      if (!fill(round & 255)) wrong += 1;
    }
    expect(wrong).toBe(0);
  });

  test("is read from its own first byte when it is a part of another", () => {
    const whole = new Uint8Array(new ArrayBuffer(16)).fill(1);
    const part = whole.subarray(5, 8);
    expect(Number(ptr(part)) - Number(ptr(whole))).toBe(5);
    libc.memset(part, 9, part.length);
    expect([...whole]).toEqual([1, 1, 1, 1, 1, 9, 9, 9, 1, 1, 1, 1, 1, 1, 1, 1]);
  });
});

describe("errno", () => {
  // oxlint-disable-next-line no-underscore-dangle -- the C library's name
  const errno = (): number => read.i32(libc.__errno_location() as Pointer, 0);

  test("read directly after the call is that call's, whatever happens in between calls", () => {
    const EBADF = 9;
    const EINVAL = 22;
    const NO_SUCH_WHENCE = 99;
    let wrong = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      disturb(round);
      if (round % 16 === 0) existsSync("/no/such/file");
      const isBadFd = round % 2 === 0;
      const result = isBadFd ? libc.close(-1) : Number(libc.lseek(0, 0, NO_SUCH_WHENCE));
      const code = errno();
      if (result !== -1 || code !== (isBadFd ? EBADF : EINVAL)) wrong += 1;
    }
    expect(wrong).toBe(0);
  });
});

describe("a string given to C", () => {
  test("is UTF-8, and ends at its first NUL: the reason for pathArgument()", () => {
    expect([libc.strlen(""), libc.strlen("ü"), libc.strlen("a\0b")]).toEqual([0n, 2n, 1n]);
  });

  test("is whole at 100,000 characters, and again at each call", () => {
    for (const length of [100_000, 3, 50_000]) {
      expect(libc.strlen("x".repeat(length))).toBe(BigInt(length));
    }
  });
});
