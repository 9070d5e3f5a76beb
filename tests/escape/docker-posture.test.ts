/**
 * Each kind of process of a worker with the Docker engine as it looks from outside, compared with the exact
 * expected table: what is not said here is a difference, and every difference fails.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, lstatSync, readFileSync } from "node:fs";

import { DOCKER_UID_FIRST, DOCKER_UIDS_PER_WORKER } from "../../src/common/docker-limits.ts";
import { hasDockerd } from "../helpers/dockerd.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { type DockerBench, startDockerBench } from "../integration/docker/docker-bench.ts";
import {
  apart,
  cgroupOf,
  HANDLER_LIMITS,
  LIMITS,
  NO_CAPABILITIES,
  POSTURE_KINDS,
} from "./posture-kinds.ts";
import { descendants, type ProcessView, viewProcess } from "./process-view.ts";

const MIB = 1024 * 1024;

/** Far from the slots that workers take. */
const BENCH_SLOT = 4_000;

/** What Docker shuts off in /proc and /sys, where the host has it; newer versions add to it. */
const MASKED = [
  "/sys/firmware",
  ..."acpi kcore keys latency_stats timer_list timer_stats sched_debug scsi"
    .split(" ")
    .map((name) => `/proc/${name}`),
];
const READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Version 1 has a mount for each hierarchy, in a tmpfs of the container's own. */
function cgroupMounts(): string[] {
  const points = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, point = "", type]) => type === "cgroup" && point.startsWith("/sys/fs/cgroup/"))
    .map(([, point]) => `${point} ro,nosuid,nodev,noexec`);
  const top = points.length === 0 ? "ro" : "rw";
  return [`/sys/fs/cgroup ${top},nosuid,nodev,noexec`, ...points];
}

/** What every container has: base, then what Docker mounts in each. */
function commonMounts(maskedPaths: readonly string[]): string[] {
  const bound = ["/etc/alternatives", "/etc/ssl/certs", "/etc/pki/tls/certs"];
  const masks = maskedPaths
    .filter((path) => existsSync(path))
    .map((path) => `${path} ${lstatSync(path).isDirectory() ? "ro" : "rw,nosuid"}`);
  return [
    "/ ro",
    "/usr ro",
    ...bound
      .filter((dir) => lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() === true)
      .map((dir) => `${dir} ro`),
    ...["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"].map((file) => `${file} ro`),
    "/proc rw,nosuid,nodev,noexec",
    ...READ_ONLY.filter((path) => existsSync(path)).map((path) => `${path} ro,nosuid,nodev,noexec`),
    "/dev rw,nosuid",
    "/dev/pts rw,nosuid,noexec",
    ...["/dev/mqueue", "/dev/shm", "/tmp"].map((place) => `${place} rw,nosuid,nodev,noexec`),
    "/sys ro,nosuid,nodev,noexec",
    ...cgroupMounts(),
    ...masks,
  ];
}

const HANDLER_MOUNTS = [
  "/handler ro",
  "/packages ro",
  "/run/openlambda.sock ro",
  "/host rw,nosuid,nodev,noexec",
  "/host/stdout rw",
  "/host/stderr rw",
];

const INSTALLER_MOUNTS = ["/handler ro", "/run/install ro", "/host rw,nosuid,nodev,noexec"];

/** What a process of a container is beside its limits, namespaces and cgroup. */
const containerProcess = (uid: number): Omit<ProcessView, "pid" | "namespaces" | "cgroups"> => ({
  name: "python3",
  uids: [uid, uid, uid, uid],
  gids: [uid, uid, uid, uid],
  // Docker gives a process its own group a second time.
  groups: String(uid),
  capabilities: NO_CAPABILITIES,
  noNewPrivileges: "1",
  seccomp: "2",
  umask: "0022",
  oomScoreAdjustment: "500",
  root: "/",
  cwd: "/host",
  descriptors: { "0": "/dev/null", "1": "/host/stdout", "2": "/host/stderr", "3": "socket" },
  environment: [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOSTNAME=lambda",
    "LC_ALL=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
    "HOME=/",
  ],
  limits: expect.objectContaining(HANDLER_LIMITS),
  mounts: [],
  // Docker's user namespace is the host's; the ids in it are nobody's else.
  idMaps: ["0 0 4294967295", "0 0 4294967295", "allow"],
});

const NO_ZYGOTES = "Docker cannot fork a container: there are no zygotes";

/** What is compared here. */
const COMPARED = ["worker", "handler", "installer"];

/** Kinds that there are none of, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  waiter: NO_ZYGOTES,
  zygote: NO_ZYGOTES,
  importCacheZygote: NO_ZYGOTES,
  handlerOfImportCache: NO_ZYGOTES,
  spare: "each container is made for its lambda: none waits for one",
};

/** A container's first process, and what Docker masks in it. */
interface Found {
  readonly view: ProcessView;
  readonly maskedPaths: readonly string[];
}

/** The only container with a label. */
async function containerWith({ daemon }: DockerBench, label: string): Promise<Found | null> {
  const [found, ...others] = await daemon.docker.listContainers({ filters: { label: [label] } });
  if (found === undefined || others.length > 0) return null;
  const { State, HostConfig } = await daemon.docker.getContainer(found.Id).inspect();
  return { view: viewProcess(State.Pid), maskedPaths: HostConfig.MaskedPaths ?? [] };
}

/** Whoever started this test has what the worker's caller had; of itself a process cannot take a still view. */
const viewOfCaller = (): ProcessView => viewProcess(process.ppid);

function expectProcess(
  { view, maskedPaths }: Found,
  differs: Partial<ProcessView>,
  mounts: readonly string[],
): void {
  const { pid: _pid, namespaces: _namespaces, cgroups: _cgroups, ...rest } = view;
  const [uid = 0] = view.uids;
  expect({ ...rest, mounts: rest.mounts.toSorted() }).toEqual({
    ...containerProcess(uid),
    ...differs,
    mounts: [...commonMounts(maskedPaths), ...mounts].toSorted(),
  });
  expect(maskedPaths).toEqual(expect.arrayContaining([...MASKED]));
  expect(cgroupOf(view, viewOfCaller()).name).toMatch(/^ol-dockerd-\w+\/[0-9a-f]{64}$/);
  expect((uid - DOCKER_UID_FIRST) / DOCKER_UIDS_PER_WORKER).toBeWithin(0, BENCH_SLOT + 1);
}

test("every kind of process is compared, or left out by name", () => {
  expect([...COMPARED, ...Object.keys(LEFT_OUT)].toSorted()).toEqual([...POSTURE_KINDS].toSorted());
});

setDefaultTimeout(60_000);

describe.skipIf(!hasDockerd())("posture with the Docker engine", () => {
  let bench: DockerBench;

  beforeAll(async () => {
    bench = await startDockerBench("host");
  });
  afterAll(() => bench.close());

  describe.each(["none", "host"] as const)("and network %s", (network) => {
    const ownNamespaces = ["cgroup", "ipc", "mnt", "net", "pid", "uts"].filter(
      (kind) => kind !== "net" || network === "none",
    );
    let worker: TestWorker;

    beforeAll(async () => {
      worker = await startWorker({
        sandbox: "docker",
        docker: { socket: bench.daemon.socket },
        import_cache_size: 0,
        network,
        limits: LIMITS,
      });
      for (const name of ["posture", "neighbour"]) {
        worker.lambda(name, "print('here')\ndef handler(event):\n    return 1\n");
        expect((await worker.call(name)).status).toBe(200);
      }
    });
    afterAll(() => worker.stop());

    const handlerOf = async (name: string): Promise<Found> => {
      const found = await containerWith(bench, `openlambda.lambda=${name}`);
      if (found === null) throw new Error(`the lambda ${name} has no container`);
      return found;
    };

    test("the worker is an ordinary process of root that holds no file but its own", () => {
      const view = viewProcess(worker.pid());
      const self = viewOfCaller();
      for (const part of ["uids", "gids", "capabilities", "seccomp", "noNewPrivileges"] as const)
        expect(view[part]).toEqual(self[part]);
      const { cwd, root, oomScoreAdjustment } = view;
      expect([cwd, root, oomScoreAdjustment]).toEqual(["/", "/", self.oomScoreAdjustment]);
      expect(apart(view, self)).toEqual([]);
      const paths = Object.values(view.descriptors).filter((target) => target.startsWith("/"));
      const own = [worker.cluster, "/dev/null", "/dev/urandom", "/run/openlambda/"];
      expect(paths.filter((path) => !own.some((prefix) => path.startsWith(prefix)))).toEqual([]);
    });

    test("the worker has no process below it: those of containers are Docker's", () => {
      expect(descendants(worker.pid())).toEqual([]);
    });

    test("a handler", async () => {
      const found = await handlerOf("posture");
      expectProcess(found, {}, HANDLER_MOUNTS);
      expect(apart(found.view, viewProcess(worker.pid()))).toEqual(ownNamespaces);
    });

    test("a handler shares no namespace, no id and no cgroup with another", async () => {
      const { view } = await handlerOf("posture");
      const { view: other } = await handlerOf("neighbour");
      expect(apart(view, other)).toEqual(ownNamespaces);
      expect(view.uids[0]).not.toBe(other.uids[0] ?? 0);
      const caller = viewOfCaller();
      expect(cgroupOf(view, caller).name).not.toBe(cgroupOf(other, caller).name);
    });
  });

  test("an installer", async () => {
    const pool = await bench.openPool({ slot: BENCH_SLOT });
    try {
      const result = pool.run({
        argv: ["/usr/bin/python3", "-I", "-c", "import time; time.sleep(600)"],
        env: { PATH: "/usr/bin", SECRET: "of the proxy" },
        mounts: [{ source: bench.cluster, target: "/handler", readOnly: true }],
        limits: {
          memoryMaxBytes: LIMITS.mem_mb * MIB,
          processesMax: LIMITS.procs,
          cpuPercent: LIMITS.cpu_percent,
          runtimeMs: LIMITS.runtime_sec * 1_000,
          scratchMaxBytes: LIMITS.scratch_mb * MIB,
        },
        files: {},
      });
      const found = await waitFor(async () => {
        const it = await containerWith(bench, "openlambda.role=installer").catch(() => null);
        // Before, it is still runc, and while it starts, the interpreter has files of its own open.
        const isQuiet = Object.keys(it?.view.descriptors ?? {}).length === 3;
        return it?.view.name === "python3" && isQuiet ? it : null;
      }, "the program runs, with its three streams");
      expectProcess(
        found,
        {
          descriptors: { "0": "/dev/null", "1": "pipe", "2": "pipe" },
          environment: ["PATH=/usr/bin", "HOSTNAME=lambda", "SECRET=of the proxy", "HOME=/"],
        },
        INSTALLER_MOUNTS,
      );
      // Installers always have the host's network.
      const own = ["cgroup", "ipc", "mnt", "pid", "uts"];
      expect(apart(found.view, viewOfCaller())).toEqual(own);
      process.kill(found.view.pid, "SIGKILL");
      expect((await result).outcome).toBe("signalled");
    } finally {
      await pool.close();
    }
  });
});
