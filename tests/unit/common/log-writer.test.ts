import { describe, expect, test } from "bun:test";
import { LOG_BATCH_BYTES, LOG_BUFFER_MAX_BYTES } from "../../../src/common/limits.ts";
import { createLogWriter } from "../../../src/common/log-writer.ts";

/** A descriptor that takes what a test lets it. */
class FakeDescriptor {
  text = "";
  calls = 0;
  fail: string | null = null;
  takeAtMost = Infinity;

  readonly write = (_fd: number, bytes: Uint8Array): number => {
    this.calls += 1;
    if (this.fail !== null) throw Object.assign(new Error(this.fail), { code: this.fail });
    const taken = bytes.subarray(0, Math.min(bytes.length, this.takeAtMost));
    this.text += new TextDecoder().decode(taken);
    return taken.length;
  };
}

function open(): { fd: FakeDescriptor; writer: ReturnType<typeof createLogWriter> } {
  const fd = new FakeDescriptor();
  return { fd, writer: createLogWriter({ write: fd.write }) };
}

describe("createLogWriter()", () => {
  test("writes many lines with one call", () => {
    const { fd, writer } = open();
    for (let n = 0; n < 100; n += 1) writer.write(`${n}\n`, false);
    expect(fd.calls).toBe(0);
    writer.flush();
    expect([fd.calls, fd.text.split("\n").length]).toEqual([1, 101]);
    writer.close();
  });

  test("writes urgent lines, and those before them, at once", () => {
    const { fd, writer } = open();
    writer.write("a\n", false);
    writer.write("b\n", true);
    expect(fd.text).toBe("a\nb\n");
    writer.close();
  });

  test("writes by itself after its interval", async () => {
    const written = Promise.withResolvers<string>();
    const writer = createLogWriter({
      write: (_fd, bytes) => {
        written.resolve(new TextDecoder().decode(bytes));
        return bytes.length;
      },
    });
    writer.write("a\n", false);
    expect(await written.promise).toBe("a\n");
    writer.close();
  });

  test("writes a full batch without waiting", () => {
    const { fd, writer } = open();
    writer.write(`${"x".repeat(LOG_BATCH_BYTES)}\n`, false);
    expect(fd.calls).toBe(1);
    writer.close();
  });

  test("goes on where a partial write ended", () => {
    const { fd, writer } = open();
    fd.takeAtMost = 3;
    writer.write("äöü 12345\n", true);
    expect(Buffer.byteLength(fd.text)).toBeGreaterThan(0);
    expect(fd.calls).toBe(5);
    writer.close();
  });

  test("keeps lines, in order, while a pipe is full", () => {
    const { fd, writer } = open();
    fd.fail = "EAGAIN";
    writer.write("a\n", true);
    writer.write("b\n", true);
    fd.fail = null;
    writer.close();
    expect([fd.text, writer.droppedLines]).toEqual(["a\nb\n", 0]);
  });

  test("bounds what it keeps, and says later what was lost", () => {
    const { fd, writer } = open();
    fd.fail = "EAGAIN";
    const line = `${"x".repeat(1023)}\n`;
    const count = LOG_BUFFER_MAX_BYTES / 1024 + 500;
    for (let n = 0; n < count; n += 1) writer.write(line, false);
    expect(writer.droppedLines).toBeGreaterThan(400);
    fd.fail = null;
    writer.flush();
    writer.write("later\n", true);
    expect(fd.text).toContain(`"dropped":${writer.droppedLines}`);
    writer.close();
  });

  test("goes on after a full disk", () => {
    const { fd, writer } = open();
    fd.fail = "ENOSPC";
    writer.write("lost\n", true);
    fd.fail = null;
    writer.write("kept\n", true);
    expect(writer.droppedLines).toBe(1);
    expect(fd.text).toMatch(/^\{.*"dropped":1\}\nkept\n$/);
    writer.close();
  });

  test("writes what is pending when the process exits", async () => {
    const script = `
      import { createLogWriter } from "${import.meta.dir}/../../../src/common/log-writer.ts";
      createLogWriter().write("last words\\n", false);
      process.exit(3);`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      stdout: "pipe",
      stderr: "inherit",
    });
    expect(await child.stdout.text()).toBe("last words\n");
    expect(await child.exited).toBe(3);
  });
});
