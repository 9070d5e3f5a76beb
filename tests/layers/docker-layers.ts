/** Layers around a container of the Docker engine. */

import type { Layer, NamedTest } from "./layer.ts";

const OPTIONS = "src/sandbox/docker/container-options.ts";

const A_HANDLER: NamedTest = {
  file: "tests/escape/docker-posture.test.ts",
  name: "posture with the Docker engine and network none a handler",
};
const REFUSED_CALLS: NamedTest = {
  file: "tests/escape/docker.test.ts",
  name: "in a container without a network system calls: the filter refuses calls that no lambda needs with EPERM",
};

const OPTIONS_TEST: NamedTest = {
  file: "tests/integration/docker/options.test.ts",
  name: "containerOptions() asks for every bound and takes every privilege",
};

/** The call that is to come first is not answered. */
const NO_CONTAINER = "Received: 503";

const docker = (
  name: string,
  says: string,
  text: string,
  instead: string,
  test: NamedTest = A_HANDLER,
): Layer => ({
  name: `Docker: ${name}`,
  edits: [{ file: OPTIONS, text, instead }],
  test,
  says,
});

/** All of them. */
export const DOCKER_LAYERS: readonly Layer[] = [
  docker(
    "seccomp profile",
    '+   "memfd_secret": "EINVAL",',
    '"no-new-privileges:true", `seccomp=${seccompOf(spec.network)}`',
    '"no-new-privileges:true", ...[seccompOf(spec.network)].slice(1)',
    REFUSED_CALLS,
  ),
  docker("cap-drop", '"CapBnd": "', '    CapDrop: ["ALL"],\n', ""),
  // Without it runc installs the filter before its own last steps, which the filter refuses.
  docker("no-new-privileges", NO_CONTAINER, '["no-new-privileges:true", ', "["),
  docker("read-only root", '"/ rw"', "    ReadonlyRootfs: true,\n", ""),
  docker("network none", '-   "net",', "NetworkMode: spec.network", 'NetworkMode: "host"'),
  docker("core limit", '"core file size": "', "    core: 1,\n", ""),
  docker("ipc namespace", '+     "/dev/shm rw",', 'IpcMode: "private"', 'IpcMode: "host"'),
  docker(
    "cgroup namespace",
    '-   "cgroup",',
    'CgroupnsMode: "private",\n    Memory',
    'CgroupnsMode: "host" as "private",\n    Memory',
  ),
  // Root of the host cannot even reach the socket of the worker: it has lost every capability.
  docker("user other than root", NO_CONTAINER, "User: `${spec.uid}:${spec.uid}`", 'User: "0:0"'),
  {
    name: "Docker: user id of a container's own",
    test: {
      file: A_HANDLER.file,
      name: "posture with the Docker engine and network none a handler shares no namespace, no id and no cgroup with another",
    },
    says: "Expected: not ",
    edits: [
      {
        file: "src/sandbox/docker/uids.ts",
        text: "return this.#first + this.#next - 1;",
        instead: "return this.#first;",
      },
    ],
  },
  docker(
    "out-of-memory score",
    '-   "oomScoreAdjustment": "500"',
    "OomScoreAdj: SANDBOX_OOM_SCORE",
    "OomScoreAdj: SANDBOX_OOM_SCORE - SANDBOX_OOM_SCORE",
  ),
  docker(
    "memory limit",
    '-   "Memory": ',
    "    Memory: limits.memoryMaxBytes,\n",
    "",
    OPTIONS_TEST,
  ),
  docker(
    "no swap beside the memory",
    '-   "MemorySwap": ',
    "    MemorySwap: limits.memoryMaxBytes,\n",
    "",
    OPTIONS_TEST,
  ),
  docker(
    "number of processes",
    '-   "PidsLimit": ',
    "    PidsLimit: limits.processesMax,\n",
    "",
    OPTIONS_TEST,
  ),
  docker("CPU limit", '-   "CpuQuota": ', "    CpuQuota:", "    CpuShares:", OPTIONS_TEST),
  docker(
    "size of the scratch space",
    "`size=${",
    "    `size=${limits.scratchMaxBytes}`,\n",
    "",
    OPTIONS_TEST,
  ),
];
