/**
 * The rows of the table that depend on an argument. Each argument used here is an `int` (or is cut to 32
 * bits by the kernel), so that only its low half counts: a filter that compared all 64 bits could be
 * passed by setting a high one. Pointers cannot be followed by a filter.
 */

import type { SyscallName } from "./numbers.ts";
import { ALLOW, ENOTTY, EPERM, type Verdict } from "./policy.ts";

interface CheckedGroup {
  readonly reason: string;
  readonly verdict: Verdict;
  readonly calls: readonly SyscallName[];
}

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME exists in clone3 only. */
const CLONE_NEW_ANY =
  0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000;

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

const PRCTL_ALLOWED = [
  1, // PR_SET_PDEATHSIG
  2, // PR_GET_PDEATHSIG
  3, // PR_GET_DUMPABLE
  4, // PR_SET_DUMPABLE
  7, // PR_GET_KEEPCAPS
  15, // PR_SET_NAME
  16, // PR_GET_NAME
  21, // PR_GET_SECCOMP
  23, // PR_CAPBSET_READ
  27, // PR_GET_SECUREBITS
  29, // PR_SET_TIMERSLACK
  30, // PR_GET_TIMERSLACK
  36, // PR_SET_CHILD_SUBREAPER
  37, // PR_GET_CHILD_SUBREAPER
  38, // PR_SET_NO_NEW_PRIVS
  39, // PR_GET_NO_NEW_PRIVS
  40, // PR_GET_TID_ADDRESS
  41, // PR_SET_THP_DISABLE
  42, // PR_GET_THP_DISABLE
  51, // PR_SVE_GET_VL
  52, // PR_GET_SPECULATION_CTRL
  56, // PR_GET_TAGGED_ADDR_CTRL
  65, // PR_SET_MDWE
  66, // PR_GET_MDWE
  0x41555856, // PR_GET_AUXV
];

/** What a process in stock still has to do to itself: PR_SET_SECCOMP, to install the last filter. */
const PRCTL_SETUP = [22];

/** prctl while a process waits in stock. */
export const PRCTL_UNTIL_ASSIGNED: Verdict = {
  kind: "value",
  arg: 0,
  cases: [{ values: [...PRCTL_ALLOWED, ...PRCTL_SETUP], verdict: ALLOW }],
  otherwise: EPERM,
};

/** What the second filter adds to it. */
export const PRCTL_ON_ASSIGNMENT: Verdict = {
  kind: "value",
  arg: 0,
  cases: [{ values: PRCTL_SETUP, verdict: EPERM }],
  otherwise: ALLOW,
};

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
    verdict: {
      kind: "value",
      arg: 0,
      cases: [{ values: PRCTL_ALLOWED, verdict: ALLOW }],
      otherwise: EPERM,
    },
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
      "reserving space, but not past the end of a file: the file size limit does not bound that, and a " +
      "lambda's output lies on the host's disk",
    verdict: {
      kind: "value",
      arg: 1,
      mask: FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
      cases: [{ values: [FALLOC_FL_KEEP_SIZE], verdict: EPERM }],
      otherwise: ALLOW,
    },
    calls: ["fallocate"],
  },
  { reason: "nodes that are no devices", verdict: nodeCheck(1), calls: ["mknod"] },
  { reason: "nodes that are no devices", verdict: nodeCheck(2), calls: ["mknodat"] },
];

/** Rows by argument for `network: none`. */
export const CHECKED: readonly CheckedGroup[] = [...ALWAYS, socketCheck(false)];

/** Rows by argument for `network: host`. */
export const CHECKED_NETLINK: readonly CheckedGroup[] = [...ALWAYS, socketCheck(true)];
