/** Which request printed what: from the worker's notes to what `ol logs` finds. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  ftruncateSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

import { CallIndex } from "../../../src/cli/log-source.ts";
import {
  CALL_INDEX_MAX_BYTES,
  OUTPUT_MAX_BYTES,
  OUTPUT_RENEW_BYTES,
} from "../../../src/common/limits.ts";
import { type InstanceLogs, InstanceLogStore } from "../../../src/sandbox/instance-logs.ts";
import { type TempDir, tempDir } from "../../helpers/temp-dir.ts";

let temp: TempDir;
let store: InstanceLogStore;
let logs: InstanceLogs;

beforeEach(() => {
  temp = tempDir();
  store = new InstanceLogStore(temp.path, (error) => {
    throw error;
  });
  logs = store.open("hello", "1");
});
afterEach(() => {
  store.close(logs, OUTPUT_MAX_BYTES);
  store.shut();
  temp.remove();
});

const file = (): string => join(logs.dir, "calls");

function indexOf(): CallIndex {
  const index = new CallIndex(logs.dir);
  index.update();
  return index;
}

describe("noteCall()", () => {
  test("writes nothing for calls that print nothing", () => {
    logs.noteCall("a");
    expect(existsSync(file())).toBe(false);
    writeSync(logs.stdoutFd, "x");
    logs.noteCall("b");
    logs.noteCall("c");
    expect(readFileSync(file(), "utf8")).toBe("1 0 b\n");
  });

  test("lets each part of both streams be found by its request", () => {
    writeSync(logs.stdoutFd, "first\n");
    logs.noteCall("a");
    writeSync(logs.stderrFd, "oh\n");
    logs.noteCall("b");
    writeSync(logs.stdoutFd, "third\n");
    logs.noteCall("c");
    const index = indexOf();
    expect(index.find("stdout", 0)).toEqual({ requestId: "a", endBytes: 6 });
    expect(index.find("stdout", 6)).toEqual({ requestId: "c", endBytes: 12 });
    expect(index.find("stdout", 12)).toBeNull();
    expect(index.find("stderr", 0)).toEqual({ requestId: "b", endBytes: 3 });
  });

  test("does not throw where a lambda has emptied its own output", () => {
    writeSync(logs.stdoutFd, "first\n");
    logs.noteCall("a");
    ftruncateSync(logs.stdoutFd, 0);
    logs.noteCall("b");
    expect(indexOf().find("stdout", 0)).toMatchObject({ requestId: "a" });
  });

  test("stops at its bound", () => {
    const id = "x".repeat(100);
    for (let bytes = 0; bytes < 2 * CALL_INDEX_MAX_BYTES; bytes += id.length) {
      writeSync(logs.stdoutFd, "y");
      logs.noteCall(id);
    }
    const { length } = readFileSync(file());
    expect(length).toBeGreaterThan(CALL_INDEX_MAX_BYTES);
    expect(length).toBeLessThan(CALL_INDEX_MAX_BYTES + 200);
  });

  test("leaves nothing for the next instance that gets the files", () => {
    writeSync(logs.stdoutFd, "first\n");
    logs.noteCall("a");
    ftruncateSync(logs.stdoutFd, 0);
    store.close(logs, OUTPUT_MAX_BYTES);
    for (let instance = 2; instance < 40; instance++) {
      logs = store.open("hello", String(instance));
      expect(existsSync(file())).toBe(false);
      store.close(logs, OUTPUT_MAX_BYTES);
    }
  });
});

describe("isFull", () => {
  test("is so from half of the bound of output on, until another instance gets the files", () => {
    logs.measure();
    writeSync(logs.stderrFd, Buffer.alloc(OUTPUT_RENEW_BYTES));
    logs.measure();
    expect(logs.isFull).toBe(false);
    writeSync(logs.stderrFd, "x");
    logs.measure();
    expect(logs.isFull).toBe(true);
    logs.reset();
    expect(logs.isFull).toBe(false);
  });

  test("is so where the index is at its bound", () => {
    const id = "x".repeat(CALL_INDEX_MAX_BYTES);
    writeSync(logs.stdoutFd, "y");
    logs.noteCall(id);
    expect(logs.isFull).toBe(true);
  });

  test("is not so where no index can be written: that is not worth a cold start per call", () => {
    mkdirSync(file());
    writeSync(logs.stdoutFd, "y");
    logs.noteCall("a");
    expect(logs.isFull).toBe(false);
  });
});

describe("CallIndex", () => {
  test("waits for the end of a line and passes over what is no entry", () => {
    writeFileSync(file(), "5 0 a\nnonsense\n9 9999999999999999 b\n7 0");
    const index = indexOf();
    expect(index.find("stdout", 5)).toBeNull();
    writeFileSync(file(), " c\n", { flag: "a" });
    index.update();
    expect(index.find("stdout", 5)).toEqual({ requestId: "c", endBytes: 7 });
  });

  test("finds nothing where there is no index", () => {
    expect(indexOf().find("stdout", 0)).toBeNull();
  });
});
