/** Rows of attempts on the network, with `network: none`, and where `network: host` differs. */

import { expect } from "bun:test";

import type { TestWorker } from "../helpers/worker.ts";
import { type Inside, outside, type Scenario } from "./attempts.ts";

/** To ports of the host and an abstract socket. */
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

/** To addresses beyond this machine. */
const FAR = `
def send(address):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
return [tried(send, address) for address in event]`;
/** The metadata address, another machine, itself, everyone. */
const FAR_ADDRESSES = ["169.254.169.254", "192.0.2.1", "127.0.0.1", "255.255.255.255"];

/** Listens. */
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
/** Makes sockets by family, type and protocol. */
const SOCKETS = `return {kind: tried(lambda: socket.socket(*numbers).close()) for kind, numbers in event.items()}`;
/** The one kind of netlink that `network: host` allows. */
const ROUTE_NETLINK = { route: [16, 3, 0] };

/** Changes an interface, filters packets, marks them. */
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

/** What can be read of the network. */
const VIEW = `
lines = lambda name: len(open("/proc/net/" + name).readlines()) - 1
interfaces = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
return [interfaces, lines("tcp") > 0, lines("route") > 0, any("@" in line for line in open("/proc/net/unix"))]`;

/** What the rows are made of. */
export interface NetworkContext {
  readonly worker: TestWorker;
  readonly host: HostListeners;
}

/** What listens on the host. */
export interface HostListeners {
  readonly port: number;
  /** Name of an abstract unix socket, without its first NUL. */
  readonly abstract: string;
  readonly close: () => void;
}

/**
 * @param abstract a name that nobody else listens on
 * @returns what the attempts try to reach; to be closed by the caller
 */
export function listenOnHost(abstract: string): HostListeners {
  const socket = { data: () => {} };
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket });
  const abstractServer = Bun.listen({ unix: `\0${abstract}`, socket });
  const close = (): void => {
    server.stop(true);
    abstractServer.stop(true);
  };
  return { port: server.port, abstract, close };
}

interface Expected {
  readonly connect: readonly string[];
  readonly route: string;
}

const EXPECTED: Readonly<Record<"none" | "host", Expected>> = {
  none: { connect: ["ENETUNREACH", "ENETUNREACH", "ECONNREFUSED"], route: "EPERM" },
  // What `host` promises: everything that an ordinary process of this machine can reach.
  host: { connect: ["ok", "ok", "ok"], route: "ok" },
};

/** Rows that both kinds of network have, under names of their own. */
const commonRows = (network: "none" | "host"): readonly Scenario<NetworkContext>[] => [
  {
    row: `${network}: ports of the host, of the worker, and abstract unix sockets of the host`,
    expected: EXPECTED[network].connect,
    run: async ({ worker, host }, expected, inside) => {
      const target = { port: host.port, worker: worker.port, abstract: host.abstract };
      expect(await inside(worker, CONNECT, target)).toEqual(expected);
      // A listening socket takes connections by itself, even while this process waits for the control.
      expect(outside(CONNECT, target)).toEqual(["ok", "ok", "ok"]);
    },
  },
  {
    row: `${network}: listening`,
    run: async ({ worker }, _, inside) => {
      expect(await inside(worker, BIND)).toEqual(["ok", "ok"]);
      expect(outside(BIND)).toEqual(["ok", "ok"]);
    },
  },
  {
    row: `${network}: raw, packet, netlink sockets and rare families are refused`,
    run: async ({ worker }, _, inside) => {
      const refused = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, "EPERM"]));
      expect(await inside(worker, SOCKETS, KINDS)).toEqual(refused);
      const route = { route: EXPECTED[network].route };
      expect(await inside(worker, SOCKETS, ROUTE_NETLINK)).toEqual(route);
      const outer = outside(SOCKETS, { ...KINDS, ...ROUTE_NETLINK }) as Record<string, string>;
      for (const kind of ["raw ICMP", "packet", "kernel events", "route"])
        expect(outer[kind]).toBe("ok");
    },
  },
  {
    row: `${network}: interfaces, packet filters and marks are refused`,
    expected: ["ENOTTY", "EPERM", "EPERM"],
    run: async ({ worker }, expected, inside) => {
      expect(await inside(worker, CONFIGURE)).toEqual(expected);
      expect(outside(CONFIGURE, null, ["--net"])).toEqual(["ok", "ok", "ok"]);
    },
  },
];

const view = async (worker: TestWorker, inside: Inside): Promise<readonly unknown[]> => {
  const outer = outside(VIEW) as readonly unknown[];
  expect(outer).toEqual([expect.arrayContaining(["lo"]), true, outer[2], true]);
  return (await inside(worker, VIEW)) as readonly unknown[];
};

/** With `network: none`. */
export const NETWORK_NONE: readonly Scenario<NetworkContext>[] = [
  ...commonRows("none"),
  {
    row: "none: metadata address, other machines, everyone",
    expected: FAR_ADDRESSES.map(() => "ENETUNREACH"),
    run: async ({ worker }, expected, inside) => {
      expect(await inside(worker, FAR, FAR_ADDRESSES)).toEqual(expected);
      expect(outside(FAR, ["127.0.0.1"])).toEqual(["ok"]);
    },
  },
  {
    row: "none: what /proc/net shows",
    run: async ({ worker }, _, inside) => {
      const [interfaces, hasTcp, hasRoutes, hasAbstract] = await view(worker, inside);
      expect(interfaces).not.toContain("eth0");
      expect([hasTcp, hasRoutes, hasAbstract]).toEqual([false, false, false]);
    },
  },
];

/** With `network: host`. */
export const NETWORK_HOST: readonly Scenario<NetworkContext>[] = [
  ...commonRows("host"),
  {
    row: "host: what /proc/net shows",
    run: async ({ worker }, _, inside) => {
      expect(await view(worker, inside)).toEqual(outside(VIEW) as readonly unknown[]);
    },
  },
];
