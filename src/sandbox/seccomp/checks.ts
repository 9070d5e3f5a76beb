/**
 * The rows of the table that depend on an argument. Each argument used here is an `int`, or has no
 * meaning in its high half, so that only its low half counts: a filter that compared all 64 bits could be
 * passed by setting a high one. Pointers cannot be followed by a filter, only be told from none.
 */

import type { SyscallName } from "./numbers.ts";
import { CLONE_NEW_ANY } from "./namespaces.ts";
import { ALLOW, ENOTTY, EPERM, type Verdict } from "./policy.ts";
import { PRCTL } from "./prctl.ts";

/** A row of the table. */
export interface CheckedGroup {
  readonly reason: string;
  readonly verdict: Verdict;
  readonly calls: readonly SyscallName[];
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFIFO = 0o010000;
const S_IFSOCK = 0o140000;

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
const SOCK_TYPE_MASK = 0xf;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_SEQPACKET = 5;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

const SOL_SOCKET = 1;
/** SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF. */
const SOCKET_FILTERS = [26, 50, 51, 52];

/** Modes of fallocate; PUNCH_HOLE is only valid together with KEEP_SIZE, and only frees. */
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

const MAP_HUGETLB = 0x40000;
const MFD_HUGETLB = 4;
const SHM_HUGETLB = 0o4000;

const RLIMIT_CORE = 4;

/** Requests that Python, its libraries and ordinary tools make of files, pipes and sockets. */
const IOCTL_ALLOWED = [
  0x5401, // TCGETS: isatty
  0x802c542a, // TCGETS2
  0x5413, // TIOCGWINSZ
  0x540f, // TIOCGPGRP
  0x5411, // TIOCOUTQ, SIOCOUTQ
  0x541b, // FIONREAD
  0x5421, // FIONBIO
  0x5450, // FIONCLEX
  0x5451, // FIOCLEX
  0x5452, // FIOASYNC
  0x8905, // SIOCATMARK
  0x8910, // SIOCGIFNAME
  0x8912, // SIOCGIFCONF
  0x8913, // SIOCGIFFLAGS
  0x8915, // SIOCGIFADDR
  0x8919, // SIOCGIFBRDADDR
  0x891b, // SIOCGIFNETMASK
  0x8921, // SIOCGIFMTU
  0x8927, // SIOCGIFHWADDR
  0x8933, // SIOCGIFINDEX
];

const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

/** Type and protocol of an internet socket, once its family is known. */
const INTERNET: Verdict = {
  kind: "value",
  arg: 1,
  mask: SOCK_TYPE_MASK,
  cases: [
    {
      values: [SOCK_STREAM, SOCK_DGRAM],
      verdict: {
        kind: "value",
        arg: 2,
        cases: [{ values: [0, IPPROTO_TCP, IPPROTO_UDP], verdict: ALLOW }],
        otherwise: EPERM,
      },
    },
  ],
  otherwise: EPERM,
};

const LOCAL: Verdict = {
  kind: "value",
  arg: 1,
  mask: SOCK_TYPE_MASK,
  cases: [{ values: [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET], verdict: ALLOW }],
  otherwise: EPERM,
};

const NETLINK: Verdict = {
  kind: "value",
  arg: 2,
  cases: [{ values: [NETLINK_ROUTE], verdict: ALLOW }],
  otherwise: EPERM,
};

function socketCheck(netlink: boolean): CheckedGroup {
  return {
    reason:
      "unix and internet sockets for streams and datagrams; raw, packet, vsock, crypto and other families " +
      "are kernel code that no lambda needs" +
      (netlink ? "; getaddrinfo asks for the host's addresses over a route netlink socket" : ""),
    verdict: {
      kind: "value",
      arg: 0,
      cases: [
        { values: [AF_UNIX], verdict: LOCAL },
        { values: [AF_INET, AF_INET6], verdict: INTERNET },
        ...(netlink ? [{ values: [AF_NETLINK], verdict: NETLINK }] : []),
      ],
      otherwise: EPERM,
    },
    calls: ["socket"],
  };
}

/** The check of the type in a file mode: files, pipes and sockets, no devices. */
function nodeCheck(arg: number): Verdict {
  return {
    kind: "value",
    arg,
    mask: S_IFMT,
    cases: [{ values: [0, S_IFREG, S_IFIFO, S_IFSOCK], verdict: ALLOW }],
    otherwise: EPERM,
  };
}

/** Whether a pointer is none. */
function nullCheck(arg: number): Verdict {
  const high: Verdict = {
    kind: "value",
    arg,
    half: "high",
    cases: [{ values: [0], verdict: ALLOW }],
    otherwise: EPERM,
  };
  return { kind: "value", arg, cases: [{ values: [0], verdict: high }], otherwise: EPERM };
}

const ALWAYS: readonly CheckedGroup[] = [
  {
    reason: "new processes and threads, but no new namespaces",
    verdict: { kind: "bits", arg: 0, mask: CLONE_NEW_ANY, set: EPERM, clear: ALLOW },
    calls: ["clone"],
  },
  {
    reason: "pairs of unix sockets, as multiprocessing and asyncio make",
    verdict: {
      kind: "value",
      arg: 0,
      cases: [{ values: [AF_UNIX], verdict: LOCAL }],
      otherwise: EPERM,
    },
    calls: ["socketpair"],
  },
  {
    reason: "socket options, but no packet filters: they are programs inside the kernel",
    verdict: {
      kind: "value",
      arg: 1,
      cases: [
        {
          values: [SOL_SOCKET],
          verdict: {
            kind: "value",
            arg: 2,
            cases: [{ values: SOCKET_FILTERS, verdict: EPERM }],
            otherwise: ALLOW,
          },
        },
      ],
      otherwise: ALLOW,
    },
    calls: ["setsockopt"],
  },
  {
    reason:
      "names, death signals and questions; not the memory map, secure bits, speculation or dispatch",
    verdict: PRCTL,
    calls: ["prctl"],
  },
  {
    reason:
      "a request that is not known to be needed answers as a file that does not know it; putting words " +
      "into a terminal is an attack and is named as one",
    verdict: {
      kind: "value",
      arg: 1,
      cases: [
        { values: IOCTL_ALLOWED, verdict: ALLOW },
        { values: [TIOCSTI, TIOCLINUX], verdict: EPERM },
      ],
      otherwise: ENOTTY,
    },
    calls: ["ioctl"],
  },
  {
    reason:
      "asking for the personality, or the one it has; others switch off address randomisation",
    verdict: {
      kind: "value",
      arg: 0,
      cases: [{ values: [0, 0xffffffff], verdict: ALLOW }],
      otherwise: EPERM,
    },
    calls: ["personality"],
  },
  {
    reason:
      "reserving space within the file size limit, and freeing it; the other modes allocate past the end of " +
      "a file without a bound, and a lambda's output lies on the host's disk",
    verdict: {
      kind: "value",
      arg: 1,
      cases: [{ values: [0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE], verdict: ALLOW }],
      otherwise: EPERM,
    },
    calls: ["fallocate"],
  },
  {
    reason: "memory, but not from the host's pool of huge pages, which no memory limit counts",
    verdict: { kind: "bits", arg: 3, mask: MAP_HUGETLB, set: EPERM, clear: ALLOW },
    calls: ["mmap"],
  },
  {
    reason: "files in memory, but not of huge pages",
    verdict: { kind: "bits", arg: 1, mask: MFD_HUGETLB, set: EPERM, clear: ALLOW },
    calls: ["memfd_create"],
  },
  {
    reason: "System V memory, but not of huge pages",
    verdict: { kind: "bits", arg: 2, mask: SHM_HUGETLB, set: EPERM, clear: ALLOW },
    calls: ["shmget"],
  },
  {
    reason:
      "limits, but for that of core dumps: only the one that it has keeps the host from making them",
    verdict: {
      kind: "value",
      arg: 0,
      cases: [{ values: [RLIMIT_CORE], verdict: EPERM }],
      otherwise: ALLOW,
    },
    calls: ["setrlimit"],
  },
  {
    reason: "the same, and asking for any of them: then there are no new values",
    verdict: {
      kind: "value",
      arg: 1,
      cases: [{ values: [RLIMIT_CORE], verdict: nullCheck(2) }],
      otherwise: ALLOW,
    },
    calls: ["prlimit64"],
  },
  { reason: "nodes that are no devices", verdict: nodeCheck(1), calls: ["mknod"] },
  { reason: "nodes that are no devices", verdict: nodeCheck(2), calls: ["mknodat"] },
];

/** Rows by argument for `network: none`. */
export const CHECKED: readonly CheckedGroup[] = [...ALWAYS, socketCheck(false)];

/** Rows by argument for `network: host`. */
export const CHECKED_NETLINK: readonly CheckedGroup[] = [...ALWAYS, socketCheck(true)];
