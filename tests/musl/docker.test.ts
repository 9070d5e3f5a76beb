/** A Docker image with musl: as the base of SOCK sandboxes, and as that of containers. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { DOCKER_UID_FIRST } from "../../src/common/docker-limits.ts";
import { inside, testScenarios } from "../escape/attempts.ts";
import { DOCKER_ROWS } from "../escape/docker-rows.ts";
import { IDENTITY } from "../escape/privilege-attempts.ts";
import { SYSCALLS } from "../escape/syscall-attempts.ts";
import { type Daemon, hasDockerd, startDockerd } from "../helpers/dockerd.ts";
import { type BaseChoice, startWorker, type TestWorker } from "../helpers/worker.ts";
import { LIMITS, testCalls } from "./calls.ts";
import { BUILD_TIMEOUT_MS, ensureMuslBase } from "./musl-base.ts";

setDefaultTimeout(120_000);

/** A container's user id differs each time; in the tables it is 1000. */
const withUid = (found: unknown): unknown =>
  JSON.parse(
    JSON.stringify(found, (_, value: unknown) =>
      typeof value === "number" && value >= DOCKER_UID_FIRST ? 1000 : value,
    ),
  );

describe.skipIf(!hasDockerd())("an image with musl", () => {
  let daemon: Daemon;
  let base: BaseChoice;

  beforeAll(async () => {
    const { tarball } = ensureMuslBase();
    daemon = await startDockerd();
    const image = await daemon.importTarball(tarball, "musl-python");
    base = { spec: `docker:${image}`, dockerSocket: daemon.socket };
  }, BUILD_TIMEOUT_MS);

  afterAll(() => daemon.close());

  describe("dumped, with SOCK", () => {
    let worker: TestWorker;

    beforeAll(async () => {
      worker = await startWorker({ network: "none", limits: LIMITS }, base);
    });

    afterAll(() => worker.stop());

    testCalls(() => worker, "fresh", false);
  });

  // The base that was dumped from it goes back to Docker, or the image is named by the configuration.
  describe.each([{}, { base_image: "musl-python:latest" }])("with containers, %j", (image) => {
    let worker: TestWorker;

    beforeAll(async () => {
      const docker = { socket: daemon.socket, ...image };
      const settings = { sandbox: "docker", docker, import_cache_size: 0, network: "none" };
      worker = await startWorker({ ...settings, limits: LIMITS }, base);
    });

    afterAll(async () => {
      await worker.stop();
      expect(await daemon.docker.listContainers({ all: true })).toEqual([]);
    });

    testCalls(() => worker, "fresh", false);

    testScenarios("system calls", () => ({ worker }), SYSCALLS, DOCKER_ROWS);

    test.each(IDENTITY.map((attempt) => [attempt.row, attempt] as const))(
      "identity: %s",
      async (_, { code, expected }) => {
        expect(withUid(await inside(worker, code))).toEqual(expected);
      },
    );
  });
});
