/** The attempts of this suite from inside of containers: the same rows with the same controls. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { type Daemon, hasDockerd, startDockerd } from "../helpers/dockerd.ts";
import type { TempDir } from "../helpers/temp-dir.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { inside, testAttempts, testScenarios } from "./attempts.ts";
import {
  DOCKER_ATTEMPTS,
  DOCKER_HOST_NETWORK,
  DOCKER_ROWS,
  DOCKER_SCENARIOS,
  type DockerContext,
} from "./docker-rows.ts";
import { plantFiles } from "./files-attempts.ts";
import { startNeighbour } from "./frame-attempts.ts";
import { type HostListeners, listenOnHost } from "./network-attempts.ts";
import { startSibling } from "./privilege-attempts.ts";

/** Looks where the worker listened for the guest, opens it, and connects to it. */
const SOCKET = `
place = "/run/openlambda.sock"
connect = socket.socket(socket.AF_UNIX).connect
return [os.listdir("/run"), opened(place, os.O_WRONLY), tried(connect, place)]`;

const NO_FORKS = "there are no zygotes: each container starts an interpreter of its own";

/** Files of this suite without a table, and why or where else. */
const WITHOUT_TABLES: Readonly<Record<string, string>> = {
  "posture.test.ts": "docker-posture.test.ts has a table of its own for each kind of process",
  "posture-others.test.ts": `the installer is in docker-posture.test.ts; for the others, ${NO_FORKS}`,
  "zygote-posture.test.ts": NO_FORKS,
  // What it looks for could only come with memory that a fork inherits.
  "installer.test.ts": NO_FORKS,
};

/** Names of the rows in what a module exports. */
const rowsOf = (module: object): string[] =>
  Object.values(module)
    .filter((value) => Array.isArray(value))
    .flatMap((table: readonly { row?: unknown }[]) => table.map(({ row }) => String(row)));

const RUN = [
  ...[...DOCKER_ATTEMPTS, ...DOCKER_SCENARIOS].flatMap(([, table]) => table.map(({ row }) => row)),
  ...DOCKER_HOST_NETWORK.map(({ row }) => row),
];

test("every row of every table is run in a container as well, and each under a name of its own", async () => {
  const files = readdirSync(import.meta.dir).filter((file) => file.endsWith("-attempts.ts"));
  const modules = await Promise.all(files.map((file) => import(join(import.meta.dir, file))));
  const rows = modules.flatMap((module: object) => rowsOf(module));
  expect(RUN.toSorted()).toEqual(rows.toSorted());
  expect(new Set(RUN).size).toBe(RUN.length);
  expect(Object.keys(DOCKER_ROWS.differs).filter((row) => !RUN.includes(row))).toEqual([]);
});

test("every file of this suite runs tables, or is left out by name", () => {
  const others = readdirSync(import.meta.dir)
    .filter((file) => file.endsWith(".test.ts") && !file.startsWith("docker"))
    .filter((file) => !/-attempts\.ts"/.test(readFileSync(join(import.meta.dir, file), "utf8")));
  expect(others.toSorted()).toEqual(Object.keys(WITHOUT_TABLES).toSorted());
});

setDefaultTimeout(60_000);

describe.skipIf(!hasDockerd())("in a container", () => {
  let daemon: Daemon;
  let host: HostListeners;

  const start = async (network: "none" | "host"): Promise<TestWorker> =>
    await startWorker({
      sandbox: "docker",
      docker: { socket: daemon.socket },
      import_cache_size: 0,
      registry_cache_ms: 50,
      network,
    });

  beforeAll(async () => {
    daemon = await startDockerd();
    host = listenOnHost(`ol-escape-docker-${process.pid}`);
  });
  afterAll(async () => {
    host.close();
    await daemon.close();
  });

  describe("without a network", () => {
    let worker: TestWorker;
    let temp: TempDir;
    let pids: readonly number[] = [];
    let victim: Bun.Subprocess;

    beforeAll(async () => {
      worker = await start("none");
      await startSibling(worker);
      const [container] = await daemon.docker.listContainers();
      const { State } = await daemon.docker.getContainer(container?.Id ?? "").inspect();
      pids = [worker.pid(), State.Pid];
      temp = await plantFiles(worker);
      await startNeighbour(worker);
      victim = Bun.spawn(["sleep", "600"], { stdio: ["ignore", "ignore", "ignore"] });
    });
    afterAll(async () => {
      victim.kill("SIGKILL"); // The control left it stopped.
      await victim.exited;
      temp.remove();
      await worker.stop();
    });

    const context = (): DockerContext => ({
      worker,
      pids,
      victim: victim.pid,
      dir: temp.path,
      host,
    });

    for (const [label, table] of DOCKER_ATTEMPTS) testAttempts(label, context, table, DOCKER_ROWS);
    for (const [label, table] of DOCKER_SCENARIOS)
      testScenarios(label, context, table, DOCKER_ROWS);

    test("nobody listens any more where its guest connected", async () => {
      const found = await inside(worker, SOCKET);
      expect(found).toEqual([["openlambda.sock"], "ENXIO", "ECONNREFUSED"]);
    });
  });

  describe("with the host's network", () => {
    let worker: TestWorker;

    beforeAll(async () => {
      worker = await start("host");
    });
    afterAll(() => worker.stop());

    testScenarios("network", () => ({ worker, host }), DOCKER_HOST_NETWORK, DOCKER_ROWS);
  });
});
