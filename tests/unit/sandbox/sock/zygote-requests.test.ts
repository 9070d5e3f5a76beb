import { expect, test } from "bun:test";
import { closeSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { OlError } from "../../../../src/common/errors.ts";
import { ZYGOTE_REQUEST_MAX_BYTES } from "../../../../src/common/zygote-limits.ts";
import { ZygoteLink } from "../../../../src/sandbox/sock/zygote-link.ts";
import { SOCK_SEQPACKET } from "../../../../src/sys/constants.ts";
import { socketPair } from "../../../../src/sys/socket.ts";
import { PROJECT_DIR } from "../../../helpers/paths.ts";

const GUEST_DIR = join(PROJECT_DIR, "src/guest");

test("a zygote lives through requests that are too long, broken or unknown", () => {
  const program = join(import.meta.dir, "hostile-requests.py");
  const run = Bun.spawnSync(["python3", "-B", program, GUEST_DIR]);
  expect(run.stderr.toString()).toBe("");
  const { said, closed, status } = JSON.parse(run.stdout.toString()) as {
    said: { event: string; id: string }[];
    closed: boolean[];
    status: number;
  };
  expect(said.map(({ event, id }) => `${event} ${id}`).toSorted()).toEqual([
    "failed few-descriptors",
    "failed last",
    "failed no-fields",
    "failed no-op",
    "failed odd-op",
    "failed unknown-op",
  ]);
  // No descriptor stays with it, and it ends when its socket does.
  expect(closed).not.toContain(false);
  expect(status).toBe(0);
});

test("both ends agree on the longest request", () => {
  const source = readFileSync(join(GUEST_DIR, "zygote.py"), "utf8");
  const factors = /^REQUEST_MAX = ([\d *]+)/m.exec(source)?.[1]?.split("*").map(Number) ?? [];
  expect(factors.reduce((product, factor) => product * factor, 1)).toBe(ZYGOTE_REQUEST_MAX_BYTES);
});

test("ZygoteLink.send() refuses a request that no zygote would take", async () => {
  const [own, theirs] = socketPair(SOCK_SEQPACKET);
  let ends = 0;
  const link = await ZygoteLink.open(own, { onEvent: () => {}, onEnd: () => ends++ });
  let closed = 0;
  const send = (length: number): void => {
    const text = "x".repeat(length - '{"op":""}'.length);
    link.send(
      { op: text },
      [],
      () => closed++,
      () => {},
    );
  };
  try {
    send(ZYGOTE_REQUEST_MAX_BYTES);
    expect(closed).toBe(1);
    let caught: unknown = null;
    try {
      send(ZYGOTE_REQUEST_MAX_BYTES + 1);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(OlError);
    expect((caught as OlError).code).toBe("sandbox_create");
    // The caller may close its descriptors, and the zygote goes on.
    expect([closed, link.isOpen, ends]).toEqual([2, true, 0]);
  } finally {
    link.close();
    closeSync(theirs);
  }
});
