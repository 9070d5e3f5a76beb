import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { LOG_CHUNK_BYTES, LOG_FILES_KEPT } from "../../../src/common/limits.ts";
import { openLogFile } from "../../../src/common/log-file.ts";
import type { LogWriter } from "../../../src/common/log-writer.ts";
import { type TempDir, tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const MAX_BYTES = 1_000;

let temp: TempDir;
let path = "";
let log: LogWriter | null = null;

beforeEach(() => {
  temp = tempDir();
  path = temp.join("worker-0.out");
});
afterEach(() => {
  log?.close();
  temp.remove();
});

const open = (): LogWriter => (log = openLogFile(path, { maxBytes: MAX_BYTES }));
const text = (suffix = ""): string => readFileSync(`${path}${suffix}`, "utf8");

/** 100 bytes that tell their place. */
const line = (number: number): string => `${String(number).padEnd(99, ".")}\n`;

describe("openLogFile()", () => {
  test("appends to what is there, mode 0600 where nothing is", () => {
    open().write("a\n", true);
    log?.close();
    open().write("b\n", true);
    expect([text(), statSync(path).mode & 0o777]).toEqual(["a\nb\n", 0o600]);
  });

  test("moves full logs to .1 and .2 without losing or cutting a line", () => {
    open();
    for (let number = 0; number < 25; number++) log?.write(line(number), true);
    const all = `${text(".2")}${text(".1")}${text()}`;
    expect(all).toBe(Array.from({ length: 25 }, (_, number) => line(number)).join(""));
    expect(text().length).toBe(500);
  });

  test("keeps no more than its bound, however much is logged", () => {
    open();
    for (let number = 0; number < 500; number++) log?.write(line(number), true);
    const names = readdirSync(temp.path).toSorted();
    expect(names).toEqual(["worker-0.out", "worker-0.out.1", "worker-0.out.2"]);
    expect(names.length).toBe(1 + LOG_FILES_KEPT);
    const bytes = names.map((name) => statSync(temp.join(name)).size);
    expect(Math.max(...bytes)).toBeLessThanOrEqual(MAX_BYTES + LOG_CHUNK_BYTES);
  });

  test("goes on in the same file for another process that has it open for appending", () => {
    const other = openSync(path, "a");
    open();
    writeSync(other, "x".repeat(MAX_BYTES));
    log?.write("mine\n", true);
    writeSync(other, "theirs\n");
    closeSync(other);
    expect([text(), text(".1")]).toEqual(["theirs\n", `${"x".repeat(MAX_BYTES)}mine\n`]);
  });

  test("loses no line that another process writes while the log is moved away", () => {
    const other = openSync(path, "a");
    let count = 0;
    const afterCopy = (): void => {
      if (count++ < 3) writeSync(other, `theirs ${count}\n`);
    };
    log = openLogFile(path, { maxBytes: MAX_BYTES, afterCopy });
    log.write("x".repeat(MAX_BYTES), true);
    closeSync(other);
    expect(count).toBe(4);
    const theirs = ["theirs 1", "theirs 2", "theirs 3", ""].join("\n");
    expect(`${text(".1")}${text()}`).toBe(`${"x".repeat(MAX_BYTES)}${theirs}`);
  });

  test("does not follow a writer for ever that is as fast as the copy", () => {
    const other = openSync(path, "a");
    const afterCopy = (): void => void writeSync(other, "more\n");
    log = openLogFile(path, { maxBytes: MAX_BYTES, afterCopy });
    log.write("x".repeat(MAX_BYTES), true);
    closeSync(other);
    expect(text().length).toBe(0);
  });

  test("bounds what only others write", async () => {
    open();
    appendFileSync(path, "x".repeat(10 * MAX_BYTES));
    await waitFor(() => statSync(path).size === 0, "the log is cut");
  });

  test("keeps only the end of a log that grew far beyond its bound", () => {
    appendFileSync(path, `${"x".repeat(4 * LOG_CHUNK_BYTES)}end\n`);
    open().write("mine\n", true);
    expect(text(".1")).toEndWith("end\nmine\n");
    expect(text(".1").length).toBeLessThanOrEqual(MAX_BYTES + LOG_CHUNK_BYTES);
  });

  test.skipIf(process.getuid?.() !== 0)("cuts the log even where it cannot be copied", () => {
    expect(
      Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=16k", "none", temp.path]).exitCode,
    ).toBe(0);
    try {
      open().write(line(1).repeat(120), true);
      expect([statSync(path).size, readdirSync(temp.path)]).toEqual([0, ["worker-0.out"]]);
      log?.write("later\n", true);
      expect(text()).toBe("later\n");
    } finally {
      log?.close();
      Bun.spawnSync(["umount", temp.path]);
    }
  });

  test("does not follow a link in the place of the log", () => {
    symlinkSync(temp.join("elsewhere"), path);
    expect(open).toThrow("ELOOP");
  });
});
