/**
 * The attempts of this suite from inside of a container: the same tables, with what differs because a
 * container is made in another way. The controls are those of the other files.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { DOCKER_UID_FIRST } from "../../src/common/docker-limits.ts";
import { type Daemon, hasDockerd, startDockerd } from "../helpers/dockerd.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { type AttemptOf, inside } from "./attempts.ts";
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
import { type Context, IDENTITY, INVISIBLE, PROCESSES, TRACE } from "./privilege-attempts.ts";
import {
  ALLOWED,
  byNumber,
  CALLS,
  isIntel,
  named,
  OTHER_TABLES,
  present,
  REFUSED,
} from "./syscall-attempts.ts";

const ABSTRACT = `ol-escape-docker-${process.pid}`;

/** Rows whose result is another one in a container. */
const DIFFERENT: Readonly<Record<string, unknown>> = {
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
};

/** A container's user id differs each time; in the tables it is 1000. */
const withUid = (found: unknown): unknown =>
  JSON.parse(
    JSON.stringify(found, (_, value: unknown) =>
      typeof value === "number" && value >= DOCKER_UID_FIRST ? 1000 : value,
    ),
  );

/** What comes of opening for writing. Users other than root hear of rights before read-only mounts. */
const WRITES = {
  "/etc/shadow": "ENOENT",
  "/root/.ssh": "ENOENT",
  "/var/run/docker.sock": "ENOENT",
  "/proc/1/root/root/.ssh": "ENOENT",
  "/proc/self/exe": "EACCES",
  "/proc/sys/kernel/core_pattern": "EACCES",
  "/sys/fs/cgroup/cgroup.procs": "ENOENT",
  "/handler/lambda_func.py": "EACCES",
  "/packages/x": "ENOENT",
  "/usr/bin/python3": "EACCES",
  // A socket that nobody listens on any more.
  "/run/openlambda.sock": "ENXIO",
  "/dev/mem": "ENOENT",
  "/dev/kvm": "ENOENT",
};

const OPEN_EACH = "return {place: opened(place, os.O_WRONLY) for place in event}";

setDefaultTimeout(60_000);

describe.skipIf(!hasDockerd())("in a container", () => {
  let daemon: Daemon;
  let worker: TestWorker;
  let pids: readonly number[] = [];

  beforeAll(async () => {
    daemon = await startDockerd();
    worker = await startWorker({
      sandbox: "docker",
      docker: { socket: daemon.socket },
      import_cache_size: 0,
      network: "none",
    });
    worker.lambda("sibling", "def handler(event):\n    return 'sibling'\n");
    expect((await worker.call("sibling")).text).toBe('"sibling"');
    const [container] = await daemon.docker.listContainers();
    const { State } = await daemon.docker.getContainer(container?.Id ?? "").inspect();
    pids = [worker.pid(), State.Pid];
  });

  afterAll(async () => {
    await worker.stop();
    await daemon.close();
  });

  test("the filter refuses calls that no lambda needs with EPERM", async () => {
    const calls = present(REFUSED);
    const found = named(calls, await inside(worker, CALLS, byNumber(calls)));
    expect(found).toEqual(Object.fromEntries(calls.map(([name]) => [name, "EPERM"])));
    expect(await inside(worker, CALLS, byNumber([["clone3", 0, 0]]))).toEqual(["ENOSYS"]);
    expect(await inside(worker, CALLS, byNumber(ALLOWED))).toEqual(ALLOWED.map(() => "ok"));
  });

  test.if(isIntel)("the filter kills who calls through another table", async () => {
    expect(await inside(worker, OTHER_TABLES)).toEqual(["signal 31", "signal 31"]);
  });

  test.each([...IDENTITY, ...PROCESSES].map((attempt) => [attempt.row, attempt] as const))(
    "%s",
    async (row, { code, event, expected }: AttemptOf<Context>) => {
      const context = { worker, pids, victim: 0 };
      const found = await inside(worker, code, event?.(context));
      expect(withUid(found)).toEqual(row in DIFFERENT ? DIFFERENT[row] : expected);
    },
  );

  test("worker and sibling cannot be seen, signalled, read or traced", async () => {
    expect(await inside(worker, TRACE, pids)).toEqual(pids.map(() => INVISIBLE));
    expect((await worker.call("sibling")).text).toBe('"sibling"');
  });

  test("files of the host, of the kernel and of its base cannot be written", async () => {
    expect(await inside(worker, OPEN_EACH, Object.keys(WRITES))).toEqual(WRITES);
  });

  test("without a network nobody is reached, and no other kind of socket is made", async () => {
    const socket = { data: () => {} };
    const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket });
    const abstractServer = Bun.listen({ unix: `\0${ABSTRACT}`, socket });
    try {
      const target = { port: server.port, worker: worker.port, abstract: ABSTRACT };
      const refused = "ECONNREFUSED";
      expect(await inside(worker, CONNECT, target)).toEqual([refused, refused, refused]);
    } finally {
      server.stop(true);
      abstractServer.stop(true);
    }
    // Docker sets the loopback interface up: there is the container itself, and nobody else.
    expect(await inside(worker, FAR, FAR_ADDRESSES)).toEqual(
      FAR_ADDRESSES.map((address) => (address === "127.0.0.1" ? "ok" : "ENETUNREACH")),
    );
    expect(await inside(worker, BIND)).toEqual(["ok", "ok"]);
    const none = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, "EPERM"]));
    expect(await inside(worker, SOCKETS, KINDS)).toEqual(none);
    expect(await inside(worker, SOCKETS, ROUTE_NETLINK)).toEqual({ route: "EPERM" });
    expect(await inside(worker, CONFIGURE)).toEqual(["EPERM", "EPERM", "EPERM"]);
    expect(await inside(worker, VIEW)).toEqual([["lo"], false, false, false]);
  });
});
