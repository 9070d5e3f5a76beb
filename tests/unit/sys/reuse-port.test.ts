/** Who gets a connection while an old and a new worker listen on one port. */

import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";

import { setFaultPlan } from "../../../src/sys/libc.ts";
import { preferSecondListener } from "../../../src/sys/reuse-port.ts";
import { collectBeforeCalls } from "./collect.ts";
import { failureOf } from "./failure.ts";

/** A server that answers every request with its own name. */
interface Generation {
  readonly port: number;
  /** The descriptor on which it listens. */
  readonly fd: number;
  stop(): Promise<void>;
}

let running: Generation[] = [];

function sockets(): number[] {
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`).startsWith("socket:") ? [Number(name)] : [];
    } catch {
      // The descriptor of the listing itself.
      return [];
    }
  });
}

function listen(name: string, port = 0, reusePort = true): Generation {
  const before = new Set(sockets());
  const fetch = (): Response => new Response(name, { headers: { connection: "close" } });
  const server = Bun.serve({ hostname: "127.0.0.1", port, reusePort, fetch });
  const [fd] = sockets().filter((it) => !before.has(it));
  if (fd === undefined || server.port === undefined) throw new Error("It does not listen");
  const generation = { port: server.port, fd, stop: () => server.stop(true) };
  running.push(generation);
  return generation;
}

afterEach(async () => {
  setFaultPlan(null);
  await Promise.all(running.map((generation) => generation.stop()));
  running = [];
});

/** Who answers so many connections, one after another; each is a new one. */
async function answers(port: number, count = 50): Promise<string> {
  const names = new Set<string>();
  for (let n = 0; n < count; n += 1) {
    const response = await fetch(`http://127.0.0.1:${port}/`, { keepalive: false });
    names.add(await response.text());
  }
  return [...names].toSorted().join(" and ");
}

describe("preferSecondListener()", () => {
  test("gives every connection to the second of two that share a port", async () => {
    const old = listen("old");
    const young = listen("young", old.port);
    // The control: the kernel spreads them by their ports, so that the old one gets half.
    expect(await answers(old.port)).toBe("old and young");
    preferSecondListener(young.fd);
    expect(await answers(old.port)).toBe("young");
  });

  test("may be called on either of them", async () => {
    const old = listen("old");
    listen("young", old.port);
    preferSecondListener(old.fd);
    expect(await answers(old.port)).toBe("young");
  });

  test("leaves all to the one that stays when the other stops", async () => {
    const old = listen("old");
    const young = listen("young", old.port);
    preferSecondListener(young.fd);
    await old.stop();
    expect(await answers(old.port)).toBe("young");
    const next = listen("next", old.port);
    preferSecondListener(next.fd);
    expect(await answers(old.port)).toBe("next");
    await next.stop();
    expect(await answers(old.port)).toBe("young");
  });

  test("gives the kernel a whole program when memory is collected before the call", async () => {
    const old = listen("old");
    const young = listen("young", old.port);
    collectBeforeCalls();
    for (let round = 0; round < 50; round += 1) preferSecondListener(young.fd);
    setFaultPlan(null);
    expect(await answers(old.port)).toBe("young");
  });

  test("does nothing where only one listens that may be shared", async () => {
    const only = listen("only");
    preferSecondListener(only.fd);
    expect(await answers(only.port)).toBe("only");
  });

  test("throws when the socket does not share its port, or is none", () => {
    const alone = listen("alone", 0, false);
    expect(failureOf(() => preferSecondListener(alone.fd))).toMatchObject({
      call: "setsockopt",
      errnoName: "EINVAL",
    });
    const message = "Cannot setsockopt(-1, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, return 1): EBADF";
    expect(failureOf(() => preferSecondListener(-1)).message).toBe(message);
  });
});
