/** The tables of this suite as they are run in containers, and where their results are others. */

import { DOCKER_UID_FIRST, DOCKER_UIDS_PER_WORKER } from "../../src/common/docker-limits.ts";
import { ENGINE_SLOTS } from "../../src/common/limits.ts";
import type { TestWorker } from "../helpers/worker.ts";
import { type AttemptOf, type EngineRows, insideShared, type Scenario } from "./attempts.ts";
import { DEVICES, type FilesContext, HOST_FILES, ROOTS, WRITES } from "./files-attempts.ts";
import { FRAMES, type FramesContext } from "./frame-attempts.ts";
import { NEIGHBOURS, type NeighboursContext } from "./neighbour-attempts.ts";
import { NETWORK_HOST, NETWORK_NONE, type NetworkContext } from "./network-attempts.ts";
import { type Context, IDENTITY, OTHERS, PROCESSES, SIBLING } from "./privilege-attempts.ts";
import { SYSCALLS } from "./syscall-attempts.ts";

/** What rows in a container are made of. */
export type DockerContext = Context &
  FilesContext &
  FramesContext &
  NeighboursContext &
  NetworkContext;

/** Single attempts, by the label of their tests. */
export const DOCKER_ATTEMPTS: readonly (readonly [string, readonly AttemptOf<DockerContext>[]])[] =
  [
    ["identity", IDENTITY],
    ["other processes", PROCESSES],
    ["host files", HOST_FILES],
    ["roots and mounts", ROOTS],
    ["read-only", WRITES],
    ["devices and programs", DEVICES],
  ];

/** Rows of more than one call. */
export const DOCKER_SCENARIOS: readonly (readonly [string, readonly Scenario<DockerContext>[]])[] =
  [
    ["other processes", OTHERS],
    ["system calls", SYSCALLS],
    ["network", NETWORK_NONE],
    ["frames", FRAMES],
    ["neighbours", NEIGHBOURS],
    ["other processes", SIBLING],
  ];

/** The same, where the worker gives its lambdas the host's network. */
export const DOCKER_HOST_NETWORK: readonly Scenario<NetworkContext>[] = NETWORK_HOST;

/** Of whichever worker the container is. */
const isContainerUid = (value: unknown): boolean =>
  /^\d+$/.test(String(value)) &&
  Number(value) >= DOCKER_UID_FIRST &&
  Number(value) < DOCKER_UID_FIRST + DOCKER_UIDS_PER_WORKER * ENGINE_SLOTS;

/** A container's user id differs each time; in the tables it is 1000. */
function plainIds(found: unknown): unknown {
  return JSON.parse(
    JSON.stringify(found, (_, value: unknown) => {
      if (!isContainerUid(value)) return value;
      return typeof value === "number" ? 1000 : "1000";
    }),
  );
}

// Where output goes is a mount, which nobody removes; what else there is, is the lambda's own.
const kept = (errno: string): readonly (readonly string[])[] => [
  ["EBUSY", errno],
  ["EBUSY", errno],
  ["ok", "ok"],
  ["ok", "ok"],
];

/** How a container differs. */
export const DOCKER_ROWS: EngineRows = {
  inside: async (worker: TestWorker, code: string, event?: unknown) =>
    plainIds(await insideShared(worker, code, event)),
  differs: {
    "reads its environment and command line": [
      {},
      [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=lambda",
        "LC_ALL=C.UTF-8",
        "PYTHONDONTWRITEBYTECODE=1",
        "HOME=/",
      ],
      ["/usr/bin/python3"],
      ["/handler/lambda_func.py"],
    ],
    // Docker mounts a devpts of the container's own; the filter refuses what makes a terminal of it.
    "types into a terminal": ["EPERM", "EPERM", "EPERM", "EPERM", false, "ENXIO", "EPERM"],
    // The worker and the container of the sibling: there are no zygotes and no spares.
    "worker, zygotes and siblings cannot be seen, signalled, read or traced": 2,
    // Where the socket of the worker was mounted, and what Docker shows of the kernel, read-only.
    "finds the host's other trees": ["/run", "/sys"],
    // Users other than root hear of rights before read-only mounts; Docker's /dev is not one.
    "makes a file in /dev": "EACCES",
    "makes a file in /sys/fs/cgroup": "EACCES",
    "lists devices":
      "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split(" "),
    // What is opened there is in the row of terminals.
    "opens memory, disks, terminals and virtual machines":
      "ENOENT ENOENT ENOENT ENOENT ok ok ENOENT ENOENT ENOENT".split(" "),
    // Docker's mounts heed file capabilities: a program that has one, and may not get it, is not even run.
    "gains privilege by a setuid program or a file capability": ["1000", "EPERM"],
    // Docker's profiles kill who calls through either table.
    "the filter kills who calls through the 32-bit table and refuses the x32 one": [
      "signal 31",
      "signal 31",
    ],
    // Docker sets the loopback interface up: there is the container itself, and nobody else.
    "none: ports of the host, of the worker, and abstract unix sockets of the host": [
      "ECONNREFUSED",
      "ECONNREFUSED",
      "ECONNREFUSED",
    ],
    "none: metadata address, other machines, everyone": [
      "ENETUNREACH",
      "ENETUNREACH",
      "ok",
      "ENETUNREACH",
    ],
    // A profile of Docker's answers unknown requests of ioctl like refused ones.
    "none: interfaces, packet filters and marks are refused": ["EPERM", "EPERM", "EPERM"],
    "host: interfaces, packet filters and marks are refused": ["EPERM", "EPERM", "EPERM"],
    "scratch paths: a symlink to a file of the host changes nothing for the worker": kept("EEXIST"),
    "scratch paths: a symlink to itself changes nothing for the worker": kept("EEXIST"),
    "scratch paths: a FIFO changes nothing for the worker": kept("EEXIST"),
    "scratch paths: a socket changes nothing for the worker": kept("EADDRINUSE"),
    "scratch paths: a directory full of links changes nothing for the worker": kept("EEXIST"),
    "scratch paths: nothing, with its own descriptors redirected changes nothing for the worker":
      kept("ok"),
  },
};
