/** Attempts on the network, with `network: none`; and where `network: host` differs. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { inside, outside } from "./attempts.ts";
import {
  BIND,
  CONFIGURE,
  CONNECT,
  FAR,
  FAR_ADDRESSES,
  KINDS,
  ROUTE_NETLINK,
  SOCKETS,
  VIEW,
} from "./network-attempts.ts";

const ABSTRACT = `ol-escape-${process.pid}`;

interface Expected {
  readonly connect: readonly string[];
  readonly bind: readonly string[];
  readonly route: string;
}

const EXPECTED: Readonly<Record<"none" | "host", Expected>> = {
  none: {
    connect: ["ENETUNREACH", "ENETUNREACH", "ECONNREFUSED"],
    bind: ["ok", "ok"],
    route: "EPERM",
  },
  // What `host` promises: everything that an ordinary process of this machine can reach.
  host: { connect: ["ok", "ok", "ok"], bind: ["ok", "ok"], route: "ok" },
};

describe.each(["none", "host"] as const)("network %s", (network) => {
  const expected = EXPECTED[network];
  let worker: TestWorker;
  let server: Bun.TCPSocketListener;
  let abstractServer: Bun.UnixSocketListener<undefined>;
  const target = (): unknown => ({
    port: server.port,
    worker: worker.port,
    abstract: ABSTRACT,
  });

  beforeAll(async () => {
    worker = await startWorker({ network });
    const socket = { data: () => {} };
    server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket });
    abstractServer = Bun.listen({ unix: `\0${ABSTRACT}`, socket });
  });
  afterAll(async () => {
    server.stop(true);
    abstractServer.stop(true);
    await worker.stop();
  });

  test("ports of the host, of the worker, and abstract unix sockets of the host", async () => {
    expect(await inside(worker, CONNECT, target())).toEqual([...expected.connect]);
    // A listening socket takes connections by itself, even while this process waits for the control.
    expect(outside(CONNECT, target())).toEqual(["ok", "ok", "ok"]);
  });

  test("listening", async () => {
    expect(await inside(worker, BIND)).toEqual([...expected.bind]);
    expect(outside(BIND)).toEqual(["ok", "ok"]);
  });

  test("raw, packet, netlink sockets and rare families are refused", async () => {
    const refused = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, "EPERM"]));
    expect(await inside(worker, SOCKETS, KINDS)).toEqual(refused);
    expect(await inside(worker, SOCKETS, ROUTE_NETLINK)).toEqual({ route: expected.route });
    const outer = outside(SOCKETS, { ...KINDS, ...ROUTE_NETLINK }) as Record<string, string>;
    for (const kind of ["raw ICMP", "packet", "kernel events", "route"])
      expect(outer[kind]).toBe("ok");
  });

  test("interfaces, packet filters and marks are refused", async () => {
    expect(await inside(worker, CONFIGURE)).toEqual(["ENOTTY", "EPERM", "EPERM"]);
    expect(outside(CONFIGURE, null, ["--net"])).toEqual(["ok", "ok", "ok"]);
  });

  if (network === "none") {
    test("metadata address, other machines, everyone", async () => {
      const unreachable = FAR_ADDRESSES.map(() => "ENETUNREACH");
      expect(await inside(worker, FAR, FAR_ADDRESSES)).toEqual(unreachable);
      expect(outside(FAR, ["127.0.0.1"])).toEqual(["ok"]);
    });
  }

  test("what /proc/net shows", async () => {
    const [interfaces, hasTcp, hasRoutes, hasAbstract] = (await inside(
      worker,
      VIEW,
    )) as readonly unknown[];
    const outer = outside(VIEW) as readonly unknown[];
    expect(outer).toEqual([expect.arrayContaining(["lo"]), true, outer[2], true]);
    if (network === "none") {
      expect(interfaces).not.toContain("eth0");
      expect([hasTcp, hasRoutes, hasAbstract]).toEqual([false, false, false]);
    } else {
      expect([interfaces, hasTcp, hasRoutes, hasAbstract]).toEqual([...outer]);
    }
  });
});
