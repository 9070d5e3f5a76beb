/** The promises of a container line by line, and the small parts of the Docker engine. */

import { expect, test } from "bun:test";
import { defaultDockerSocket } from "../../../src/base/docker-client.ts";
import { dockerError } from "../../../src/base/docker-error.ts";
import { joinLogFrames } from "../../../src/sandbox/docker/command-runner.ts";
import { containerOptions } from "../../../src/sandbox/docker/container-options.ts";
import { dockerSeccompProfile } from "../../../src/sandbox/docker/seccomp-profile.ts";
import { Gate } from "../../../src/sandbox/docker/gate.ts";
import { UidRange } from "../../../src/sandbox/docker/uids.ts";

const MIB = 1024 * 1024;

test("containerOptions() asks for every bound and takes every privilege", () => {
  const { _query: query, _body: options } = containerOptions(
    {
      image: "base:1",
      baseBinds: [{ source: "/usr", target: "/usr" }],
      runtime: "runsc",
      cluster: "my-cluster",
      worker: "/c/workers/worker-0",
      slot: 3,
    },
    {
      name: "ol-hello-1",
      role: "sandbox",
      subject: "hello",
      uid: 1_700_000_000,
      argv: ["/usr/bin/python3", "-c", "pass"],
      env: { LC_ALL: "C.UTF-8" },
      mounts: [{ source: "/code", target: "/handler", readOnly: true }],
      limits: {
        memoryMaxBytes: 256 * MIB,
        processesMax: 64,
        cpuPercent: 150,
        runtimeMs: 1000,
        scratchMaxBytes: 512 * MIB,
      },
      network: "none",
      scratch: true,
      keepOutput: false,
    },
  );
  expect(query).toEqual({ name: "ol-hello-1" });
  expect(options.User).toBe("1700000000:1700000000");
  expect(options.Entrypoint).toEqual(["/usr/bin/python3", "-c", "pass"]);
  expect(options.Labels).toEqual({
    "openlambda.cluster": "my-cluster",
    "openlambda.role": "sandbox",
    "openlambda.lambda": "hello",
    "openlambda.worker": "/c/workers/worker-0",
    "openlambda.slot": "3",
  });
  const host = options.HostConfig;
  expect(host).toMatchObject({
    CapDrop: ["ALL"],
    SecurityOpt: [
      "no-new-privileges:true",
      `seccomp=${JSON.stringify(dockerSeccompProfile("none"))}`,
    ],
    ReadonlyRootfs: true,
    NetworkMode: "none",
    IpcMode: "private",
    CgroupnsMode: "private",
    Memory: 256 * MIB,
    MemorySwap: 256 * MIB,
    PidsLimit: 64,
    CpuPeriod: 100_000,
    CpuQuota: 150_000,
    Runtime: "runsc",
  });
  expect(host).not.toHaveProperty("Privileged");
  expect(host?.Mounts?.map(({ Target, ReadOnly }) => [Target, ReadOnly])).toEqual([
    ["/usr", true],
    ["/handler", true],
  ]);
  for (const place of ["/tmp", "/host"]) {
    const words = host?.Tmpfs?.[place]?.split(",") ?? [];
    expect(words).toContain(`size=${512 * MIB}`);
    expect(words).toContain("nr_inodes=131072");
    expect(words).toContain("nosuid");
  }
  expect(host?.OomScoreAdj).toBe(500);
  const ulimits = host?.Ulimits?.map(({ Name, Soft, Hard }) => [Name, Soft, Hard]);
  expect(ulimits).toEqual([
    ["core", 1, 1],
    ["nofile", 1024, 1024],
    ["fsize", 512 * MIB, 512 * MIB],
    ["memlock", 64 * 1024, 64 * 1024],
    ["msgqueue", 0, 0],
    ["sigpending", 1024, 1024],
    ["nproc", 72, 72],
    ["nice", 0, 0],
    ["rtprio", 0, 0],
  ]);
});

test("UidRange gives each living container its own id and workers different ones", () => {
  const first = new UidRange(0);
  const second = new UidRange(1);
  const taken = Array.from({ length: 4096 }, () => first.take());
  expect(new Set(taken).size).toBe(4096);
  expect(taken).not.toContain(second.take());
  expect(() => first.take()).toThrow("more than 4096");
  first.give(taken[7] ?? 0);
  expect(first.take()).toBe(taken[7] ?? 0);
  expect(Math.max(...[new UidRange(4_095)].map((it) => it.take()))).toBeLessThan(2 ** 31);
});

test("Gate lets in as many as it may, in order, and goes on after a failure", async () => {
  const gate = new Gate(2);
  const started: number[] = [];
  const release: (() => void)[] = [];
  const jobs = [0, 1, 2, 3].map((job) =>
    gate.run(async () => {
      started.push(job);
      await new Promise<void>((resolve) => release.push(resolve));
      if (job === 0) throw new Error("broken");
      return job;
    }),
  );
  const outcomes = Promise.allSettled(jobs);
  await Promise.resolve();
  expect(started).toEqual([0, 1]);
  while (release.length > 0) {
    release.shift()?.();
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  }
  expect(started).toEqual([0, 1, 2, 3]);
  expect((await outcomes).map((it) => it.status)).toEqual([
    "rejected",
    "fulfilled",
    "fulfilled",
    "fulfilled",
  ]);
});

test("joinLogFrames() takes Docker's headers out, whole or cut off", () => {
  const frame = (text: string): Buffer => {
    const head = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const whole = Buffer.concat([frame("one\n"), frame(""), frame("two\n")]);
  expect(joinLogFrames(whole).toString()).toBe("one\ntwo\n");
  expect(joinLogFrames(whole.subarray(0, -2)).toString()).toBe("one\ntw");
  expect(joinLogFrames(whole.subarray(0, 14)).toString()).toBe("one\n");
});

test("dockerError() tells a daemon that is away from one that refuses", () => {
  const away = dockerError(
    Object.assign(new Error("x"), { code: "ENOENT" }),
    "/s",
    "list containers",
  );
  expect([away.code, away.retryable]).toEqual(["docker_unavailable", true]);
  expect(away.message).toStartWith(
    'Cannot list containers at "/s": ENOENT, wanted a running Docker',
  );
  const refusal = Object.assign(new Error("no space left"), { statusCode: 500 });
  expect(dockerError(refusal, "/s", "start").code).toBe("engine_unavailable");
  expect(dockerError(refusal, "/s", "start").message).toContain("Docker says no space left");
});

test("defaultDockerSocket() follows DOCKER_HOST where that is a socket", () => {
  expect(defaultDockerSocket("unix:///run/user/1000/docker.sock")).toBe(
    "/run/user/1000/docker.sock",
  );
  expect(defaultDockerSocket("tcp://example:2375")).toBe("/var/run/docker.sock");
  expect(defaultDockerSocket("")).toBe("/var/run/docker.sock");
});
