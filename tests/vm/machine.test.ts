/**
 * That the machine is what the VM lane promises. Outside of it these would fail, so they only exist
 * where the lane says that it is the VM.
 */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";

describe.if(process.env["OL_TEST_VM"] === "1")("the VM", () => {
  test("has cgroup v2 and nothing else", () => {
    const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
    const types = mounts
      .map((line) => line.split(" ")[2])
      .filter((type) => type?.startsWith("cgroup"));
    expect(types).toEqual(["cgroup2"]);
    expect(readFileSync("/proc/cgroups", "utf8")).not.toMatch(/^(memory|pids)\t[1-9]/m);
  });

  test("offers the controllers that limits need", () => {
    const controllers = readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").trim().split(" ");
    expect(controllers).toEqual(expect.arrayContaining(["cpu", "memory", "pids"]));
  });

  test("is run by systemd, and runs us in a service of it", () => {
    expect(readFileSync("/proc/1/comm", "utf8")).toBe("systemd\n");
    expect(readFileSync("/proc/self/cgroup", "utf8")).toBe("0::/system.slice/lane.service\n");
  });

  test("runs Linux 6.1", () => {
    expect(release()).toStartWith("6.1.");
  });

  test("has Python, a loopback interface and the compiled executable", async () => {
    expect(Bun.spawnSync(["python3", "-I", "-S", "-c", "print(1)"]).stdout.toString()).toBe("1\n");
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("up") });
    expect(await (await fetch(server.url)).text()).toBe("up");
    await server.stop(true);
    expect(existsSync("bin/ol")).toBe(true);
  });
});
