/** What a lambda prints through a real guest: in time, bounded, and whatever it does to its streams. */

import { describe, expect } from "bun:test";
import { PythonGuest } from "./python-guest.ts";
import { testPython } from "./python.ts";

const LIMIT = 1_000;
const NOTE = `\n[openlambda: output limit of ${LIMIT} bytes reached, the rest is dropped]\n`;

/** A handler that runs the statements of its event, and what was printed after each of them. */
const EXEC = "import os, sys\ndef handler(event):\n    exec(event, globals())\n    return True\n";

async function exec(guest: PythonGuest, statements: string): Promise<void> {
  expect(await guest.call(JSON.stringify(statements))).toEqual({ value: true });
}

describe("output", () => {
  testPython("has come out when the answer is there, with or without a line feed", async () => {
    await using guest = await PythonGuest.start(EXEC);
    await exec(guest, "print('a line'); print('half', end='')");
    expect(guest.stdout).toBe("a line\nhalf");
    await exec(guest, "sys.stderr.write('to err'); sys.stdout.buffer.write(b'\\xff')");
    expect([guest.stderr, guest.stdout.length]).toEqual(["to err", "a line\nhalf".length + 1]);
  });

  testPython("of a line is there while the handler still runs", async () => {
    await using guest = await PythonGuest.start(EXEC);
    await exec(guest, "print('now'); seen = os.stat(1).st_size; print(seen)");
    expect(guest.stdout).toBe("now\n4\n");
  });

  testPython("of a handler that raises is kept", async () => {
    await using guest = await PythonGuest.start(EXEC);
    const answer = await guest.call(JSON.stringify("print('before', end=''); 1 / 0"));
    expect(answer).toMatchObject({ code: "lambda_exception" });
    expect(guest.stdout).toBe("before");
  });

  testPython("that UTF-8 cannot hold is shown as escapes", async () => {
    await using guest = await PythonGuest.start(EXEC);
    await exec(guest, "print('ü \\ud800')");
    expect(guest.stdout).toBe("ü \\ud800\n");
  });

  testPython("comes from stdout and stderr as a lambda finds them under either name", async () => {
    await using guest = await PythonGuest.start(EXEC);
    await exec(guest, "print('x', file=sys.__stdout__); print('y', file=sys.__stderr__)");
    await exec(guest, "assert sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2");
    expect([guest.stdout, guest.stderr]).toEqual(["x\n", "y\n"]);
  });

  testPython("is not confused by input: there is none", async () => {
    await using guest = await PythonGuest.start(EXEC);
    await exec(guest, "assert sys.stdin.read() == ''; assert sys.__stdin__ is sys.stdin");
  });
});

describe("the bound of output", () => {
  testPython("keeps the first bytes, says once that the rest is dropped, and goes on", async () => {
    await using guest = await PythonGuest.start(EXEC, { outputMaxBytes: LIMIT });
    for (let call = 0; call < 5; call++) await exec(guest, "print('x' * 399)");
    expect(guest.stdout).toBe(`${`${"x".repeat(399)}\n`.repeat(2)}${"x".repeat(200)}${NOTE}`);
  });

  testPython("holds for one large write and for each stream by itself", async () => {
    await using guest = await PythonGuest.start(EXEC, { outputMaxBytes: LIMIT });
    await exec(guest, "sys.stdout.write('y' * 5_000_000); print('to err', file=sys.stderr)");
    expect(guest.stdout).toBe(`${"y".repeat(LIMIT)}${NOTE}`);
    expect(guest.stderr).toBe("to err\n");
  });

  testPython("counts bytes, not characters", async () => {
    await using guest = await PythonGuest.start(EXEC, { outputMaxBytes: LIMIT });
    await exec(guest, "print('€' * 1_000)");
    expect(Buffer.byteLength(guest.stdout)).toBeGreaterThanOrEqual(LIMIT);
    expect(guest.stdout.replace(/\ufffd$/, "")).toStartWith("€".repeat(333));
    expect(guest.stdout).toEndWith(NOTE);
  });
});

describe("a lambda that tampers with its streams", () => {
  testPython.each([
    ["closes them", "sys.stdout.close(); sys.stderr.close()"],
    ["closes their descriptors", "print('x', end=''); os.close(1); os.close(2)"],
    ["sets them to None", "sys.stdout = sys.stderr = None"],
    ["sets them to a number", "sys.stdout = sys.stderr = 3"],
    ["detaches them", "sys.stdout.detach()"],
    ["puts something else there", "import io; sys.stdout = io.StringIO()"],
  ])("gets its answers still when it %s", async (_what, statements) => {
    await using guest = await PythonGuest.start(EXEC);
    await exec(guest, statements);
    await exec(guest, "pass");
  });

  testPython("is told of a stream that it closed when it prints, and goes on", async () => {
    await using guest = await PythonGuest.start(EXEC);
    await exec(guest, "sys.stdout.close()");
    const answer = await guest.call(JSON.stringify("print('x')"));
    expect(answer).toMatchObject({ code: "lambda_exception" });
    expect("text" in answer && answer.text).toContain("ValueError: I/O operation on closed file");
    await exec(guest, "pass");
  });

  testPython.each([
    ["deletes them", "del sys.stdout, sys.stderr"],
    [
      "puts something there that exits",
      "class Exits:\n    def flush(self): sys.exit(3)\nsys.stdout = Exits()",
    ],
  ])("gets its answers still when it %s", async (_what, statements) => {
    await using guest = await PythonGuest.start(EXEC);
    await exec(guest, statements);
    await exec(guest, "pass");
  });
});
