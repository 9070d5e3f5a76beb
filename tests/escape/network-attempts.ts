/** Attempts on the network, as bodies of handlers. */

/** To ports of the host and an abstract socket. */
export const CONNECT = `
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
export const FAR = `
def send(address):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
return [tried(send, address) for address in event]`;
/** The metadata address, another machine, itself, everyone. */
export const FAR_ADDRESSES = ["169.254.169.254", "192.0.2.1", "127.0.0.1", "255.255.255.255"];

/** Listens. */
export const BIND = `
def bind(address):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind((address, 0))
        sock.listen()
return [tried(bind, "127.0.0.1"), tried(bind, "0.0.0.0")]`;

/** Family, type, protocol of kinds that no lambda needs. */
export const KINDS: Readonly<Record<string, readonly [number, number, number]>> = {
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
export const SOCKETS = `return {kind: tried(lambda: socket.socket(*numbers).close()) for kind, numbers in event.items()}`;
/** The one kind of netlink that `network: host` allows. */
export const ROUTE_NETLINK = { route: [16, 3, 0] };

/** Changes an interface, filters packets, marks them. */
export const CONFIGURE = `
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
export const VIEW = `
lines = lambda name: len(open("/proc/net/" + name).readlines()) - 1
interfaces = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
return [interfaces, lines("tcp") > 0, lines("route") > 0, any("@" in line for line in open("/proc/net/unix"))]`;
