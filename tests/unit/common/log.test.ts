import { describe, expect, test } from "bun:test";
import type { Clock } from "../../../src/common/clock.ts";
import { OlError, SyscallError } from "../../../src/common/errors.ts";
import { LOG_LIMIT_BURST, LOG_LIMIT_INTERVAL_MS } from "../../../src/common/limits.ts";
import { createLogger, type Logger, type LoggerOptions } from "../../../src/common/log.ts";

class FakeClock implements Clock {
  us = 0;
  nowUs(): number {
    return this.us;
  }
  wallMs(): number {
    return 1_700_000_000_000 + this.us / 1000;
  }
}

function capture(options: Omit<LoggerOptions, "sink"> = {}): {
  log: Logger;
  lines: string[];
  urgent: boolean[];
  clock: FakeClock;
} {
  const lines: string[] = [];
  const urgent: boolean[] = [];
  const clock = new FakeClock();
  const write = (line: string, isUrgent: boolean): void => {
    lines.push(line);
    urgent.push(isUrgent);
  };
  return { log: createLogger({ sink: { write }, clock, ...options }), lines, urgent, clock };
}

const parsed = (line: string | undefined): Record<string, unknown> =>
  JSON.parse(line ?? "") as Record<string, unknown>;

describe("JSON lines", () => {
  test("hold time, level, message and fields, one line each", () => {
    const { log, lines } = capture();
    log.info("Call\nfailed", { op: "server.run", lambda: "hello", durationMs: 1.5 });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.indexOf("\n")).toBe((lines[0]?.length ?? 0) - 1);
    expect(parsed(lines[0])).toEqual({
      ts: "2023-11-14T22:13:20.000Z",
      level: "info",
      msg: "Call\nfailed",
      op: "server.run",
      lambda: "hello",
      durationMs: 1.5,
    });
  });

  test("tell code, op, details and causes of an OlError, without a stack", () => {
    const { log, lines } = capture();
    const cause = new SyscallError("mount", 1, "EPERM", '"proc"');
    log.warn("x", {
      err: new OlError("sandbox_create", "Cannot create", { op: "sock.fork", cause }),
    });
    const err = parsed(lines[0])["err"];
    expect(err).toMatchObject({
      code: "sandbox_create",
      message: "Cannot create",
      op: "sock.fork",
      cause: { code: "syscall", details: { errnoName: "EPERM" } },
    });
    expect(err).not.toHaveProperty("stack");
  });

  test("hold the stack of a bug", () => {
    const { log, lines } = capture();
    log.error("x", { err: new TypeError("bug") });
    expect(parsed(lines[0])["err"]).toMatchObject({ code: "TypeError", stack: expect.any(String) });
  });

  test("end a chain of causes that goes round", () => {
    const { log, lines } = capture();
    const error = new Error("round");
    error.cause = error;
    log.error("x", { err: error });
    expect(parsed(lines[0])["msg"]).toBe("x");
  });

  test("survive fields that JSON cannot hold", () => {
    const { log, lines } = capture();
    log.info("odd", { size: 10n });
    expect(parsed(lines[0])).toMatchObject({ msg: "odd", fields: expect.stringContaining("10n") });
  });
});

describe("text lines", () => {
  test("quote what has spaces and cannot steer a terminal", () => {
    const { log, lines } = capture({ format: "text" });
    log.warn("evil \u001b[31m\nline", { lambda: "a", reason: "two words\n\u001b[0m" });
    expect(lines[0]).toBe(
      '2023-11-14T22:13:20.000Z WARN  evil ?[31m line lambda=a reason="two words\\n\\u001b[0m"\n',
    );
  });
});

describe("levels", () => {
  test("below the lowest are not written", () => {
    const { log, lines } = capture({ level: "warn" });
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
    expect(lines.map((line) => parsed(line)["msg"])).toEqual(["c", "d"]);
    expect([log.enabled("info"), log.enabled("warn")]).toEqual([false, true]);
  });

  test("error is urgent, others are not", () => {
    const { log, urgent } = capture();
    log.info("a");
    log.error("b");
    expect(urgent).toEqual([false, true]);
  });
});

describe("child()", () => {
  test("adds its fields, which a line's own override", () => {
    const { log, lines } = capture();
    log.child({ sandboxId: "s1", op: "a" }).child({ lambda: "l" }).info("x", { op: "b" });
    expect(parsed(lines[0])).toMatchObject({ sandboxId: "s1", lambda: "l", op: "b" });
  });
});

describe("limited()", () => {
  test("writes a burst per site and interval, then tells how many were left out", () => {
    const { log, lines, clock } = capture();
    for (let n = 0; n < LOG_LIMIT_BURST + 90; n += 1) log.limited("site", "warn", "again");
    log.child({ lambda: "x" }).limited("other", "warn", "other");
    expect(lines).toHaveLength(LOG_LIMIT_BURST + 1);
    clock.us += LOG_LIMIT_INTERVAL_MS * 1000;
    log.limited("site", "warn", "again");
    log.limited("site", "warn", "again");
    expect(parsed(lines.at(-2))["suppressed"]).toBe(90);
    expect(parsed(lines.at(-1))).not.toHaveProperty("suppressed");
  });
});
