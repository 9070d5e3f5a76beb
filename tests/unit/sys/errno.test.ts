/**
 * The names that callers branch on: against the C library's table as Python has it, and against
 * those of node:fs, because `errnoNameOf` puts both kinds of error side by side.
 */

import { describe, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { getSystemErrorName } from "node:util";

import { errnoName } from "../../../src/sys/errno.ts";
import { requires } from "../../helpers/requires.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { PYTHON, python } from "./child.ts";

/** ERFKILL, the last that every supported C library knows. */
const LAST = 132;

const ALL = Array.from({ length: LAST }, (_, index) => index + 1);

const named = (code: number): boolean => errnoName(code) !== `errno ${code}`;

describe("errnoName()", () => {
  requires({ programs: [PYTHON] })("names exactly the numbers that the C library has", async () => {
    const program =
      "import errno, json\n" +
      "print(json.dumps({n: getattr(errno, n) for n in dir(errno) if n[0] == 'E'}))";
    const library = (await python(program)) as Record<string, number>;
    // One number may have two names (EAGAIN, EWOULDBLOCK): ours must be one of them.
    const wrong = ALL.filter((code) => named(code) && library[errnoName(code)] !== code);
    expect(wrong.map(errnoName)).toEqual([]);
    const numbers = new Set(Object.values(library));
    expect(ALL.filter((code) => numbers.has(code) !== named(code))).toEqual([]);
  });

  test("says the number where there is no name", () => {
    expect([0, 41, 58, LAST + 100, -1].map(errnoName)).toEqual([
      "errno 0",
      "errno 41",
      "errno 58",
      "errno 232",
      "errno -1",
    ]);
  });

  test("names a number as the runtime does where that has a name for it", () => {
    const known = ALL.filter((code) => !getSystemErrorName(-code).startsWith("Unknown"));
    expect(known.length).toBeGreaterThan(50);
    expect(known.map((code) => getSystemErrorName(-code))).toEqual(known.map(errnoName));
  });

  test("names a failure of node:fs as its code does", () => {
    using dir = tempDir();
    mkdirSync(dir.join("dir"));
    mkdirSync(dir.join("dir", "full"));
    symlinkSync("loop", dir.join("loop"));
    // A file system in memory clones no blocks.
    const path = mkdtempSync("/dev/shm/ol-test-");
    using memory = { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
    writeFileSync(`${memory.path}/source`, "");
    const clone = (): void =>
      copyFileSync(`${path}/source`, `${path}/clone`, constants.COPYFILE_FICLONE_FORCE);
    const failures = {
      ENOENT: () => openSync(dir.join("missing"), "r"),
      EEXIST: () => mkdirSync(dir.join("dir")),
      ENOTDIR: () => readdirSync("/proc/self/stat"),
      EISDIR: () => openSync(dir.join("dir"), "w"),
      ELOOP: () => openSync(dir.join("loop"), "r"),
      ENAMETOOLONG: () => openSync(dir.join("x".repeat(300)), "r"),
      EBADF: () => closeSync(1_000_000),
      ENOTSUP: clone,
    };
    const seen = Object.values(failures).map((fail) => {
      try {
        return fail();
      } catch (error) {
        const { code, errno } = error as { code: string; errno: number };
        return [code, errnoName(-errno)];
      }
    });
    expect(seen).toEqual(Object.keys(failures).map((name) => [name, name]));
  });
});
