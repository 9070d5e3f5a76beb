/** Attempts on the network, with `network: none`; and where `network: host` differs. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { inside, outside } from "./attempts.ts";

const ABSTRACT = `ol-escape-${process.pid}`;

const CONNECT = `
def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect(address)
return [
    tried(connect, socket.AF_INET, ("127.0.0.1", event["port"])),
    tried(connect, socket.AF_INET, ("127.0.0.1", event["worker"])),
    tried(connect, socket.AF_UNIX, "\\0" + event["abstract"]),
]`;

const FAR = `
def send(address):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
return [tried(send, address) for address in event]`;
const FAR_ADDRESSES = ["169.254.169.254", "192.0.2.1", "127.0.0.1", "255.255.255.255"];

const BIND = `
def bind(address):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind((address, 0))
        sock.listen()
return [tried(bind, "127.0.0.1"), tried(bind, "0.0.0.0")]`;

/** Family, type, protocol of kinds that no lambda needs. */
const KINDS: Readonly<Record<string, readonly [number, number, number]>> = {
  "raw ICMP": [2, 3, 1],
  "raw IP": [2, 3, 255],
  "raw ICMP over IPv6": [10, 3, 58],
  ping: [2, 2, 1],
  SCTP: [2, 1, 132],
  "UDP lite": [2, 2, 136],
  packet: [17, 3, 0],
  "packet datagram": [17, 2, 0],
  "kernel events": [16, 2, 15],
  audit: [16, 3, 9],
  netfilter: [16, 3, 12],
  "socket diagnosis": [16, 3, 4],
  "crypto user API": [38, 5, 0],
  "virtual machines": [40, 1, 0],
  bluetooth: [31, 3, 1],
  CAN: [29, 3, 1],
  XDP: [44, 3, 0],
  "key management": [15, 3, 2],
  TIPC: [30, 5, 0],
  "packet radio": [3, 5, 0],
};
const SOCKETS = `return {kind: tried(lambda: socket.socket(*numbers).close()) for kind, numbers in event.items()}`;
const ROUTE_NETLINK = { route: [16, 3, 0] };

const CONFIGURE = `
import fcntl
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    up = struct.pack("16sh14x", b"lo", 1)
    filter = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0xFFFF))
    program = struct.pack("<HxxxxxxQ", 1, ctypes.addressof(filter))
    return [
        tried(fcntl.ioctl, sock, 0x8914, up),
        tried(sock.setsockopt, socket.SOL_SOCKET, 26, program),
        tried(sock.setsockopt, socket.SOL_SOCKET, 36, 1),
    ]`;

const VIEW = `
lines = lambda name: len(open("/proc/net/" + name).readlines()) - 1
interfaces = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
return [interfaces, lines("tcp") > 0, lines("route") > 0, any("@" in line for line in open("/proc/net/unix"))]`;

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

test("network none: metadata address, other machines, everyone", async () => {
  const worker = await startWorker({ network: "none" });
  try {
    const unreachable = FAR_ADDRESSES.map(() => "ENETUNREACH");
    expect(await inside(worker, FAR, FAR_ADDRESSES)).toEqual(unreachable);
    expect(outside(FAR, ["127.0.0.1"])).toEqual(["ok"]);
  } finally {
    await worker.stop();
  }
});

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
