import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../helpers/free-port.ts";
import { ol, olDone } from "../helpers/ol.ts";

const isRoot = process.getuid?.() === 0;

let temp = "";
let pristine = "";
let cluster = "";

beforeAll(async () => {
  temp = mkdtempSync(join(tmpdir(), "ol-cluster-"));
  pristine = join(temp, "pristine");
  await olDone(["new", `--cluster=${pristine}`]);
});
afterAll(() => rmSync(temp, { recursive: true, force: true }));

beforeEach(() => {
  cluster = join(mkdtempSync(join(temp, "case-")), "c");
});
afterEach(() => rmSync(join(cluster, ".."), { recursive: true, force: true }));

/** A copy of a fresh cluster whose template is changed; not by setconf, which would refuse it. */
function clusterWith(changes: Readonly<Record<string, unknown>> | string): string {
  cpSync(pristine, cluster, { recursive: true });
  const template = join(cluster, "config/template.json");
  if (typeof changes === "string") writeFileSync(template, changes);
  else {
    const text = readFileSync(template, "utf8").replaceAll(pristine, cluster);
    const settings = { ...(JSON.parse(text) as object), ...changes };
    writeFileSync(template, JSON.stringify(settings));
  }
  return cluster;
}

/** Nothing was started: no pid file, no worker configuration, no log, no worker directory. */
function expectNothingStarted(): void {
  expect(readdirSync(join(cluster, "logs"))).toEqual([]);
  expect(readdirSync(join(cluster, "workers"))).toEqual([]);
  expect(readdirSync(join(cluster, "config"))).toEqual(["template.json"]);
}

describe("ol new", () => {
  test("creates six directories, mode 0700, and a template", () => {
    expect(readdirSync(pristine).toSorted()).toEqual([
      "base",
      "config",
      "logs",
      "packages",
      "registry",
      "workers",
    ]);
    for (const name of readdirSync(pristine)) {
      expect({ name, mode: statSync(join(pristine, name)).mode & 0o777 }).toEqual({
        name,
        mode: 0o700,
      });
    }
    expect(readdirSync(join(pristine, "config"))).toEqual(["template.json"]);
  });

  test("refuses a path that exists, and leaves it alone", async () => {
    mkdirSync(cluster);
    const { exitCode, stderr } = await ol(["new", "-cluster", cluster]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringContaining("it exists already"),
    });
    expect(readdirSync(cluster)).toEqual([]);
  });

  test("refuses a missing parent", async () => {
    const { exitCode, stderr } = await ol(["new", `-cluster=${join(cluster, "deeper")}`]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`${cluster} is not a directory, make it first`);
    expect(existsSync(cluster)).toBe(false);
  });

  test.each([
    ["nonsense", 2],
    ["tar:/nowhere.tar", 1],
    ["dir:/proc/self/fd", 1],
  ])("leaves nothing behind when the base %s cannot be made", async (base, expected) => {
    const { exitCode, stderr } = await ol(["new", `--cluster=${cluster}`, `--base=${base}`]);
    expect(exitCode).toBe(expected);
    expect(stderr).not.toBe("");
    expect(readdirSync(join(cluster, ".."))).toEqual([]);
  });

  test("works below a path of more than 108 characters", async () => {
    const parent = join(cluster, "..", "x".repeat(150));
    mkdirSync(parent);
    await olDone(["new", `--cluster=${join(parent, "c")}`]);
    expect((await ol(["status", `--cluster=${join(parent, "c")}`])).exitCode).toBe(0);
  });

  test("says that a name is too long", async () => {
    const { exitCode, stderr } = await ol([
      "new",
      `--cluster=${join(cluster, "..", "x".repeat(256))}`,
    ]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("the path is too long");
  });

  test("prints JSON on request and nothing else on stdout", async () => {
    const stdout = await olDone(["new", `--cluster=${cluster}`, "--json"]);
    expect(JSON.parse(stdout)).toEqual({ cluster, base: "host" });
  });

  describe.skipIf(!isRoot)("on a file system that cannot take it", () => {
    let mountPoint = "";
    const mountWith = (options: string): void => {
      mountPoint = join(cluster, "..", "mnt");
      mkdirSync(mountPoint);
      const made = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mountPoint]);
      expect(made.exitCode).toBe(0);
    };
    afterEach(() => {
      Bun.spawnSync(["umount", mountPoint]);
    });

    test("says that it is read-only", async () => {
      mountWith("ro");
      const { exitCode, stderr } = await ol(["new", `--cluster=${join(mountPoint, "c")}`]);
      expect(exitCode).toBe(1);
      expect(stderr).toContain("EROFS");
    });

    test("says that the disk is full, and leaves nothing behind", async () => {
      mountWith("size=64k");
      const { exitCode, stderr } = await ol(["new", `--cluster=${join(mountPoint, "c")}`]);
      expect(exitCode).toBe(1);
      expect(stderr).toContain("ENOSPC");
      expect(readdirSync(mountPoint)).toEqual([]);
    });
  });
});

describe("a directory that is no cluster", () => {
  test.each([["status"], ["kill"], ["workers"]])("is refused by %s", async (command) => {
    mkdirSync(cluster);
    const { exitCode, stderr } = await ol([command, `--cluster=${cluster}`]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("it is not a cluster");
    expect(readdirSync(cluster)).toEqual([]);
  });
});

describe("ol setconf", () => {
  const template = (): unknown =>
    JSON.parse(readFileSync(join(cluster, "config/template.json"), "utf8"));

  test("takes the command line of the original README", async () => {
    clusterWith({});
    const json = '{"sandbox": "sock", "registry": "local"}';
    await olDone(["setconf", `--cluster=${cluster}`, json]);
    expect(template()).toMatchObject({ sandbox: "sock", registry: "local" });
  });

  test("merges, and null brings a default back", async () => {
    clusterWith({});
    await olDone(["setconf", "-cluster", cluster, '{"limits": {"mem_mb": 99}, "max_queue": 7}']);
    expect(template()).toMatchObject({ limits: { mem_mb: 99, procs: 64 }, max_queue: 7 });
    await olDone(["setconf", "-cluster", cluster, '{"max_queue": null}']);
    expect(template()).not.toHaveProperty("max_queue");
  });

  test.each([
    ["{", "it is not JSON"],
    ["[]", "allowed is a JSON object"],
    ['{"max_runner": 2}', 'did you mean "max_runners"'],
    ['{"max_runners": 0}', '"max_runners" is 0, allowed is a whole number from 1 to 1024'],
    ['{"max_queue": -1}', '"max_queue" is -1, allowed is a whole number from 1'],
    ['{"max_queue": 9007199254740992}', '"max_queue" is 9007199254740992, allowed is'],
    ['{"max_queue": 1e999}', '"max_queue" is Infinity, allowed is'],
    ['{"limits": {"mem_mb": "much"}}', '"limits.mem_mb" is "much", allowed is'],
    ['{"registry": "http"}', '"registry" is "http", allowed is "local" or "remote"'],
  ])("refuses %s and changes nothing", async (json, expected) => {
    clusterWith({});
    const before = template();
    const { exitCode, stderr } = await ol(["setconf", `--cluster=${cluster}`, json]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 2,
      stderr: expect.stringContaining(expected),
    });
    expect(template()).toEqual(before);
    expect(readdirSync(join(cluster, "config"))).toEqual(["template.json"]);
  });
});

describe("ol workers on a bad configuration", () => {
  test.each([
    ["{not json", "it is not JSON"],
    ["", "it is not JSON"],
    [{ max_runer: 1 }, 'did you mean "max_runners"'],
    [{ max_runners: "two" }, '"max_runners" is "two"'],
    [{ cg_pool_size: -1 }, '"cg_pool_size" is -1'],
    [{ limits: { procs: 0 } }, '"limits.procs" is 0'],
    [{ import_cache_size: 2 ** 53 }, '"import_cache_size" is 9007199254740992'],
    [{ sock_base_path: "/nowhere" }, '"sock_base_path" is "/nowhere", which does not exist'],
    [{ Pkgs_dir: "/etc/passwd" }, '"Pkgs_dir" is "/etc/passwd", which is not a directory'],
    [{ registry_dir: "relative" }, '"registry_dir" is "relative", allowed is an absolute path'],
    [{ registry: "remote" }, '"registry_server" is missing'],
    [{ mem_pool_mb: 100 }, '"mem_pool_mb" is 100, allowed is at least "limits.mem_mb"'],
  ])("refuses %j and starts nothing", async (changes, expected) => {
    clusterWith(changes);
    const { exitCode, stderr } = await ol(["workers", `--cluster=${cluster}`, "-n", "2"]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 2,
      stderr: expect.stringContaining(expected),
    });
    expectNothingStarted();
  });

  test("refuses a port that is taken, names it, and starts nothing", async () => {
    clusterWith({});
    const port = await freePorts(2);
    const listener = Bun.listen({ hostname: "127.0.0.1", port: port + 1, socket: { data() {} } });
    try {
      const args = ["workers", `-cluster=${cluster}`, "--num-workers=2", `--port=${port}`];
      const { exitCode, stderr } = await ol(args);
      expect(exitCode).toBe(1);
      expect(stderr).toContain(`Cannot use "worker_port" ${port + 1}`);
      expectNothingStarted();
    } finally {
      listener.stop(true);
    }
  });

  test("refuses ports beyond the last one", async () => {
    clusterWith({});
    const { exitCode, stderr } = await ol([
      "workers",
      `-cluster=${cluster}`,
      "-p",
      "65535",
      "-n",
      "2",
    ]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("ports end at 65535");
    expectNothingStarted();
  });
});

describe("ol worker-exec on a bad configuration", () => {
  test.each([
    [undefined, "it cannot be read (ENOENT)"],
    ["not json", "it is not JSON"],
    ["{}", '"worker_port" is missing'],
    ['{"worker_port": 65536}', '"worker_port" is 65536, allowed is a whole number from 1 to 65535'],
  ])("%j", async (text, expected) => {
    const file = join(cluster, "..", "worker.json");
    if (text !== undefined) writeFileSync(file, text);
    const { exitCode, stderr } = await ol(["worker-exec", `--config=${file}`]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 2,
      stderr: expect.stringContaining(expected),
    });
  });
});

describe("ol kill and pid files", () => {
  const victims: Bun.Subprocess[] = [];
  afterEach(async () => {
    for (const victim of victims.splice(0)) {
      victim.kill("SIGKILL");
      await victim.exited;
    }
  });

  function stranger(): Bun.Subprocess {
    const child = Bun.spawn(["sleep", "1000"], { stdio: ["ignore", "ignore", "ignore"] });
    victims.push(child);
    return child;
  }

  const pidFile = (): string => join(cluster, "logs/worker-0.pid");

  test("does nothing to a cluster that does not run, however often", async () => {
    clusterWith({});
    for (const _ of [1, 2]) {
      expect(await olDone(["kill", `-cluster=${cluster}`])).toBe("Nothing was running\n");
    }
  });

  test("never kills a process that is not ours", async () => {
    clusterWith({});
    const victim = stranger();
    writeFileSync(pidFile(), `${victim.pid}\n`);
    const alone = await ol(["kill", `-cluster=${cluster}`]);
    expect(alone).toMatchObject({ exitCode: 0, stdout: "Nothing was running\n" });
    expect(alone.stderr).toContain(`process ${victim.pid} is not ours or gone`);
    expect(existsSync(pidFile())).toBe(false);

    // The same with a start time, as after the number was used again.
    const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    writeFileSync(pidFile(), `${victim.pid}\n`);
    writeFileSync(join(cluster, "logs/worker-0.start"), `${victim.pid} 1 ${bootId}\n`);
    writeFileSync(join(cluster, "workers/worker-0.owner"), `${victim.pid} 1 ${bootId}\n`);
    expect((await ol(["kill", `-cluster=${cluster}`])).exitCode).toBe(0);
    expect(victim.exitCode).toBeNull();
    expect(() => process.kill(victim.pid, 0)).not.toThrow();
  });

  test.each([
    ["empty", ""],
    ["garbage", "worker\n"],
    ["all processes", "-1\n"],
    ["init", "1\n"],
    ["a process group", "0\n"],
  ])("signals nobody because of a pid file that says %s", async (_, text) => {
    clusterWith({});
    writeFileSync(pidFile(), text);
    const { exitCode, stdout, stderr } = await ol(["kill", `-cluster=${cluster}`]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "Nothing was running\n" });
    expect(stderr).toContain("nothing was signalled because of it");
    expect(existsSync(pidFile())).toBe(false);
  });

  test("copes with a huge pid file", async () => {
    clusterWith({});
    writeFileSync(pidFile(), "");
    truncateSync(pidFile(), 2 ** 40);
    const { exitCode, stderr } = await ol(["kill", `-cluster=${cluster}`]);
    expect(exitCode).toBe(0);
    expect(stderr).toContain("has more than 128 bytes");
  });

  test("status says of a stale pid file that its worker is gone, exit 1", async () => {
    clusterWith({});
    const port = await freePorts();
    writeFileSync(join(cluster, "config/worker-0.json"), JSON.stringify({ worker_port: port }));
    writeFileSync(pidFile(), "4194304\n");
    const { exitCode, stdout } = await ol(["status", `-cluster=${cluster}`]);
    expect(exitCode).toBe(1);
    expect(stdout).toContain(
      `http://localhost:${port}/status => connection refused, its process is gone`,
    );
  });
});

describe("ol invoke without a worker", () => {
  test.each([
    [["hello", "{}"], 1, "none runs, start one with"],
    [["hello", "{"], 2, "as event"],
    [["no/slash", "{}"], 1, "Cannot name a lambda"],
    [["..", "{}"], 1, "Cannot name a lambda"],
  ])("%j", async (args, expected, words) => {
    clusterWith({});
    const { exitCode, stderr } = await ol(["invoke", `--cluster=${cluster}`, ...args]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: expected,
      stderr: expect.stringContaining(words),
    });
  });
});
