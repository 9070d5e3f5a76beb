/** Bounds to the byte, writes that are cut short, and what a lambda finds while it is imported. */

import { describe, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { FRAME_MAX_BYTES } from "../../../src/common/limits.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { PythonGuest } from "./python-guest.ts";
import { runPython, testPython } from "./python.ts";

describe("bounds", () => {
  testPython("_answer() returns the largest frame and refuses one byte more", async () => {
    // Quotes around the text, and four bytes of the handler's time before it.
    const longest = FRAME_MAX_BYTES - 4 - 2;
    await using guest = await PythonGuest.start("def handler(event):\n    return 'x' * event\n");
    const fits = await guest.call(String(longest));
    expect("value" in fits && (fits.value as string).length).toBe(longest);
    expect(await guest.call(String(longest + 1))).toMatchObject({ code: "lambda_result_invalid" });
    expect(await guest.call("1")).toEqual({ value: "x" });
  });

  testPython("write_all() goes on where the kernel takes a part", async () => {
    const program = `
import json, os, wire
taken = []
def write(fd, data):
    taken.append(bytes(data[:3]))
    return len(taken[-1])
os.write = write
wire.write_all(7, b"0123456789")
print(json.dumps([part.decode() for part in taken]))`;
    expect(await runPython(program)).toEqual(["012", "345", "678", "9"]);
  });

  testPython("answers of many threads do not mix, however large they are", async () => {
    const code = "def handler(event):\n    return str(event) * 4_000_000\n";
    await using guest = await PythonGuest.start(code, { concurrency: 4 });
    const digits = [1, 2, 3, 4];
    const answers = await Promise.all(digits.map((digit) => guest.call(String(digit))));
    const isWhole = (digit: number, at: number): boolean => {
      const answer = answers[at]!;
      return "value" in answer && answer.value === String(digit).repeat(4_000_000);
    };
    expect(digits.map(isWhole)).toEqual([true, true, true, true]);
  });
});

describe("loading", () => {
  testPython("compiled code goes out before the first event is looked at", async () => {
    const code = "import threading\ndef handler(event):\n    threading.Event().wait()\n";
    await using guest = await PythonGuest.start(code);
    const call = guest.call();
    expect((await guest.ready).code.byteLength).toBeGreaterThan(20);
    await guest[Symbol.asyncDispose]();
    expect(await call).toMatchObject({ code: "sandbox_died" });
  });

  testPython(
    "packages find the same surroundings everywhere, the handler what was set for it",
    async () => {
      using packages = tempDir();
      const names = ["HOME", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "COLOR"];
      const look = [
        "import os",
        "def look():",
        `    return [os.environ.get(name) for name in ${JSON.stringify(names)}]`,
        "SEEN = look()",
        "",
      ].join("\n");
      writeFileSync(packages.join("one.py"), look);
      const code = "import one\ndef handler(event):\n    return [one.SEEN, one.look()]\n";
      const env = { COLOR: "blue", OMP_NUM_THREADS: "1" };
      await using guest = await PythonGuest.start(code, { env, packages: [packages.path] });
      expect(await guest.call()).toEqual({
        value: [
          ["/tmp", "1", "1", "blue"],
          [null, "1", null, "blue"],
        ],
      });
    },
  );

  testPython("a lambda without packages finds nothing but its own environment", async () => {
    const code = "import os\nSEEN = dict(os.environ)\ndef handler(event):\n    return SEEN\n";
    await using guest = await PythonGuest.start(code, { env: { COLOR: "blue" } });
    expect(await guest.call()).toEqual({ value: { COLOR: "blue" } });
  });
});
