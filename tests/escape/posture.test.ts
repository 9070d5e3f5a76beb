/**
 * Each kind of process as it looks from outside, compared with the exact expected table: what is not
 * said here is a difference, and every difference fails.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { lstatSync } from "node:fs";
import { printed, startWorker, type TestWorker } from "../helpers/worker.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { processesBelow } from "../helpers/worker-processes.ts";
import { SPARES_ROOT } from "../../src/common/zygote-limits.ts";
import { boundsOf } from "./cgroup-bounds.ts";
import {
  apart,
  cgroupOf,
  HANDLER_LIMITS,
  LIMITS,
  NO_CAPABILITIES,
  type WorkerProcesses,
} from "./posture-kinds.ts";
import { descendants, type ProcessView, viewProcess } from "./process-view.ts";

const UIDS_PER_WORKER = 65_536;
const SLOTS_START = 1_879_048_192;
const SYS_ADMIN = "0000000000200000";
const DEVICES = ["null", "zero", "full", "random", "urandom"].map(
  (name) => `/dev/${name} ro,nosuid`,
);
const SCRATCH = ["/tmp", "/host", "/dev/shm", "/tmp"].map((place) => `${place} rw,nosuid,nodev`);
const PROC = "/proc rw,nosuid,nodev,noexec";
/** Mounts of the root zygote: the base, then its own /proc and scratch. */
const ZYGOTE_MOUNTS = [
  "/ ro,nosuid,nodev",
  "/usr ro,nosuid,nodev",
  // What every user of the host may read, where the host has it: see src/base/host-source.ts.
  ...["/etc/alternatives", "/etc/ssl/certs", "/etc/pki/tls/certs"]
    .filter((dir) => lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() === true)
    .map((dir) => `${dir} ro,nosuid,nodev`),
  "/packages ro,nosuid,nodev",
  "/dev ro,nosuid,noexec",
  ...DEVICES,
  PROC,
  PROC,
  ...SCRATCH,
].toSorted();
/** A sandbox adds its own on top of them. */
const SPARE_MOUNTS = [...ZYGOTE_MOUNTS, PROC, ...SCRATCH].toSorted();
const HANDLER_MOUNTS = [...SPARE_MOUNTS, "/handler ro,nosuid,nodev"].toSorted();

const STREAMS = { "0": "/dev/null", "1": "worker log", "2": "worker log" };
/** The worker, its own pid namespace to come back to, and the pipe that wakes it when a child ends. */
const ZYGOTE_DESCRIPTORS = {
  ...STREAMS,
  "3": "socket",
  "4": "pid",
  // Pins pages; never enabled, so that nothing can be submitted through it.
  "5": "anon_inode:[io_uring]",
  "6": "pipe",
  "7": "pipe",
};

/** All processes below the worker, or null where one ended while it was read. */
function viewAll(worker: TestWorker): readonly ProcessView[] | null {
  try {
    return descendants(worker.pid()).map((pid) => viewProcess(pid));
  } catch {
    return null;
  }
}

/**
 * Spares are still being made when the first call is answered, and a child that was just forked looks like
 * the zygote: waits for a moment in which there is one of each and nothing is on its way.
 */
async function processesOf(worker: TestWorker): Promise<WorkerProcesses> {
  return await waitFor(() => {
    const views = viewAll(worker) ?? [];
    const named = (name: string): readonly ProcessView[] =>
      views.filter((view) => view.name === name);
    const [waiter] = named("ol-zygote-wait");
    const [zygote, ...forked] = named("ol-zygote");
    const guests = named("ol-handler");
    const handler = guests.find(({ descriptors }) => descriptors["1"] === "stdout");
    const spare = guests.find(
      ({ descriptors, seccomp }) => descriptors["1"] !== "stdout" && seccomp === "2",
    );
    // While it forks, a zygote holds what it is about to hand to the child.
    const held = Object.values(zygote?.descriptors ?? {});
    const isForking = forked.length > 0 || held.some((target) => target.endsWith("procs"));
    if (!waiter || !zygote || !handler || !spare || isForking) return null;
    return { worker: viewProcess(worker.pid()), waiter, zygote, spare, handler };
  }, "there is one of each kind of process");
}

/** As many operators do: with groups that a sandbox must lose, which a login of root alone does not have. */
async function startInGroups(settings: Readonly<Record<string, unknown>>): Promise<TestWorker> {
  const before = process.getgroups?.() ?? [];
  process.setgroups?.([4, 27]);
  try {
    return await startWorker(settings);
  } finally {
    process.setgroups?.(before);
  }
}

describe.each(["none", "host"] as const)("posture with network %s", (network) => {
  let worker: TestWorker;
  let all: WorkerProcesses;
  let first = 0;

  beforeAll(async () => {
    worker = await startInGroups({ network, limits: LIMITS });
    worker.lambda("posture", "print('here')\ndef handler(event):\n    return 1\n");
    expect((await worker.call("posture")).status).toBe(200);
    expect(printed(worker, "posture", "stdout")).toBe("here\n");
    // While it makes one, the zygote holds what that one gets.
    await waitFor(
      () =>
        processesBelow(worker.pid()).filter(({ role }) => role === "spare").length >= SPARES_ROOT,
      "all spares are made",
    );
    all = await processesOf(worker);
    first = all.zygote.uids[0] ?? 0;
  });
  afterAll(() => worker.stop());

  test("the worker is an ordinary process of root, with all that its caller had", () => {
    const { worker: view } = all;
    const { uids, gids, seccomp, noNewPrivileges, cwd, root, oomScoreAdjustment } = view;
    // Who started this test has what the worker's caller had; of itself a process cannot take a still view.
    const self = viewProcess(process.ppid);
    expect({ uids, gids, seccomp, noNewPrivileges, cwd, root, oomScoreAdjustment }).toEqual({
      uids: [0, 0, 0, 0],
      gids: [0, 0, 0, 0],
      seccomp: self.seccomp,
      noNewPrivileges: self.noNewPrivileges,
      cwd: "/",
      root: "/",
      oomScoreAdjustment: self.oomScoreAdjustment,
    });
    expect(view.capabilities).toEqual(self.capabilities);
    expect(view.limits["core file size"]).toBe(self.limits["core file size"]);
    expect(apart(view, self)).toEqual([]);
  });

  test("the worker holds no file of the host but its own", () => {
    // Sockets, pipes and the like have a kind, not a path; what is left are files.
    const paths = Object.values(all.worker.descriptors).filter((target) => target.startsWith("/"));
    const own = [worker.cluster, "/dev/null", "/dev/urandom", "/run/openlambda/", "/sys/fs/cgroup"];
    expect(paths.filter((path) => !own.some((prefix) => path.startsWith(prefix)))).toEqual([]);
  });

  test("the ids of a worker's processes lie in a range of its own", () => {
    expect(first).toBeGreaterThanOrEqual(SLOTS_START);
    expect((first - SLOTS_START) % UIDS_PER_WORKER).toBe(0);
    expect(all.zygote.idMaps).toEqual([
      `0 ${first} ${UIDS_PER_WORKER}`,
      `0 ${first} ${UIDS_PER_WORKER}`,
      "allow",
    ]);
    const [handler = 0] = all.handler.uids;
    expect(handler).toBeGreaterThan(first);
    expect(handler).toBeLessThan(first + UIDS_PER_WORKER);
    expect(all.spare.uids[0]).not.toBe(handler);
  });

  test("the root zygote", () => {
    for (const process of [all.waiter, all.zygote]) {
      const {
        pid: _pid,
        capabilities,
        namespaces: _namespaces,
        cgroups,
        limits,
        ...rest
      } = process;
      // It keeps the empty network of each sandbox, to use it again; there is one for each.
      const networks = Object.entries(rest.descriptors).filter(([, target]) => target === "net");
      expect(networks.length > 0).toBe(network === "none" && process === all.zygote);
      const others = Object.entries(rest.descriptors).filter(([, target]) => target !== "net");
      const descriptors = Object.fromEntries(others);
      expect({ ...rest, descriptors, mounts: rest.mounts.toSorted() }).toEqual({
        name: process === all.zygote ? "ol-zygote" : "ol-zygote-wait",
        uids: [first, first, first, first],
        gids: [first, first, first, first],
        groups: "",
        noNewPrivileges: "0",
        seccomp: "0",
        umask: "0022",
        oomScoreAdjustment: "500",
        root: "/",
        cwd: "/",
        descriptors: process === all.zygote ? ZYGOTE_DESCRIPTORS : STREAMS,
        environment: ["LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"],
        mounts: ZYGOTE_MOUNTS,
        idMaps: all.zygote.idMaps,
      });
      // In a user namespace of its own, all of them: over nothing but its own namespaces.
      expect(capabilities["CapEff"]).toMatch(/^0*1f*$|^0*[37]?f+$/);
      expect(capabilities["CapInh"]).toBe("0000000000000000");
      expect(limits["core file size"]).toBe("1 1");
      expect(cgroupOf({ ...process, cgroups }, all.worker).name).toMatch(
        /^openlambda-\d+\/root-zygote$/,
      );
    }
    expect(apart(all.waiter, all.worker)).toEqual(["cgroup", "ipc", "mnt", "user", "uts"]);
    expect(apart(all.zygote, all.worker)).toEqual(["cgroup", "ipc", "mnt", "pid", "user", "uts"]);
  });

  const ownNamespaces = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].filter(
    (kind) => kind !== "net" || network === "none",
  );

  test.each(["spare", "handler"] as const)("a %s", (kind) => {
    const process = all[kind];
    const isHandler = kind === "handler";
    const [uid = 0] = process.uids;
    const { pid: _pid, namespaces: _namespaces, cgroups: _cgroups, limits, ...rest } = process;
    expect({ ...rest, mounts: rest.mounts.toSorted() }).toEqual({
      name: "ol-handler",
      uids: [uid, uid, uid, uid],
      gids: [uid, uid, uid, uid],
      groups: "",
      capabilities: isHandler
        ? NO_CAPABILITIES
        : { ...NO_CAPABILITIES, CapPrm: SYS_ADMIN, CapEff: SYS_ADMIN },
      noNewPrivileges: "1",
      seccomp: "2",
      umask: "0022",
      oomScoreAdjustment: "500",
      root: "/",
      cwd: "/host",
      descriptors: isHandler
        ? { "0": "/dev/null", "1": "stdout", "2": "stderr", "3": "socket" }
        : { ...STREAMS, "3": "socket" },
      environment: ["LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"],
      mounts: isHandler ? HANDLER_MOUNTS : SPARE_MOUNTS,
      idMaps: [`1000 ${uid} 1`, `1000 ${uid} 1`, "deny"],
    });
    expect(limits).toMatchObject(HANDLER_LIMITS);
    expect(apart(process, all.worker)).toEqual(ownNamespaces);
    expect(apart(process, all.zygote)).toEqual(ownNamespaces);
  });

  test("a handler shares no namespace with another, and its cgroup holds it alone", () => {
    expect(apart(all.handler, all.spare)).toEqual(ownNamespaces);
    const own = cgroupOf(all.handler, all.worker);
    expect(own.name).toMatch(/^openlambda-\d+\/cg-\d+$/);
    expect(own.name).not.toBe(cgroupOf(all.spare, all.worker).name);
    const unified = all.handler.cgroups.length === 1;
    if (!unified)
      expect(own.controllers).toEqual(expect.arrayContaining(["memory", "pids", "cpu"]));
  });

  test("a handler's cgroup bounds its memory with swap, its processes and its CPU", () => {
    expect(boundsOf(all.handler)).toEqual({
      memoryBytes: LIMITS.mem_mb * 1024 * 1024,
      hasSwap: false,
      processes: LIMITS.procs,
      cpuPercent: LIMITS.cpu_percent,
    });
  });
});
