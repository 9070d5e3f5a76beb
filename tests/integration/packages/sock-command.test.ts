/** The sandbox that pip runs in, with the SOCK engine: what a hostile set-up script can do in it. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { systemCgroupIo } from "../../../src/cgroup/io.ts";
import { COMMAND_ENTRIES_MAX, COMMAND_OUTPUT_TAIL_BYTES } from "../../../src/common/limits.ts";
import { SyscallError } from "../../../src/common/errors.ts";
import { PackageStore } from "../../../src/packages/store.ts";
import type { SandboxCommand, SandboxCommandResult } from "../../../src/sandbox/command.ts";
import { NAMESPACES, viewProcess, type ProcessView } from "../../escape/process-view.ts";
import { EngineBench } from "../../fault/engine-bench.ts";
import { expectNoLeaks, type LeakSnapshot, leakSnapshot } from "../../helpers/leaks.ts";
import { tempDir, type TempDir } from "../../helpers/temp-dir.ts";
import { scaled, waitFor } from "../../helpers/wait-for.ts";

// A million files take a while to make.
setDefaultTimeout(scaled(120_000));

const MIB = 1024 * 1024;
const LIMITS = {
  memoryMaxBytes: 128 * MIB,
  processesMax: 32,
  cpuPercent: 100,
  runtimeMs: 60_000,
  scratchMaxBytes: 32 * MIB,
};

/** The real cgroup files, or none at all. */
let isRefusing = false;
const refusingIo = new Proxy(systemCgroupIo, {
  get: (target, name) => {
    const method: unknown = Reflect.get(target, name);
    if (typeof method !== "function") return method;
    return (...given: unknown[]): unknown => {
      if (isRefusing) throw new SyscallError("openat", 24, "EMFILE", String(given[0]));
      return Reflect.apply(method, target, given);
    };
  },
});

describe.skipIf(process.getuid?.() !== 0)("a command in a SOCK sandbox", () => {
  let bench: EngineBench;
  let temp: TempDir;
  let before: LeakSnapshot;
  beforeAll(async () => {
    // The runtime keeps a descriptor of /dev/null from the first engine on.
    await (await EngineBench.open()).close();
    before = leakSnapshot();
    temp = tempDir("ol-command-");
    bench = await EngineBench.open({ io: refusingIo });
    await PackageStore.open(join(bench.clusterDir, "packages"));
  });
  afterAll(async () => {
    const { clusterDir } = bench;
    await bench.close();
    await expectNoLeaks(before, { marks: [clusterDir, temp.path] });
    temp.remove();
  });

  const failureOf = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => "it succeeded",
      (error: unknown) => (error instanceof Error ? error.message : "no error"),
    );
  const workDir = () => mkdtempSync(temp.join("work-"));
  async function run(
    program: string,
    more: Partial<SandboxCommand> = {},
    work: string | null = null,
  ): Promise<SandboxCommandResult> {
    const mounts = work === null ? [] : [{ source: work, target: "/host", readOnly: false }];
    const result = await bench.pool.run({
      argv: ["/usr/bin/python3", "-I", "-c", program],
      env: {},
      mounts,
      files: {},
      limits: LIMITS,
      ...more,
    });
    expect(readdirSync(join(bench.workerDir, "install"))).toEqual([]);
    if (work !== null) expect(processesOf(work)).toEqual([]);
    return result;
  }

  /** Processes with the id that owns a work directory: nobody else on the machine has it. */
  function processesOf(work: string): number[] {
    const { uid } = statSync(work);
    expect(uid).toBeGreaterThan(65_536);
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/status`, "utf8").includes(`Uid:\t${uid}\t`);
        } catch {
          return false;
        }
      });
  }

  test("gets its arguments, environment and files, and nothing else", async () => {
    const program =
      "import os, sys\nprint(sorted(os.environ.items()), open('/run/install/a.txt').read(), sorted(os.listdir('/run/install')), sorted(os.listdir('/proc/self/fd'))[:-1])\nprint('why', file=sys.stderr)\nsys.exit(7)\n";
    const found = await run(program, { env: { A: "b" }, files: { "a.txt": "text" } });
    expect(found).toEqual({
      outcome: "exited",
      exitCode: 7,
      stdout:
        "[('A', 'b'), ('LC_CTYPE', 'C.UTF-8')] text ['a.txt', 'program.json'] ['0', '1', '2']\n",
      stderr: "why\n",
    });
  });

  test("ends with the signal that ended it", async () => {
    expect((await run("import os\nos.abort()\n")).outcome).toBe("signalled");
  });

  test("that never ends is ended, whatever it ignores", async () => {
    const work = workDir();
    const forever =
      "import signal\nfor one in range(1, 32):\n    try: signal.signal(one, signal.SIG_IGN)\n    except OSError: pass\nwhile True: pass\n";
    const limits = { ...LIMITS, runtimeMs: 500 };
    expect((await run(forever, { limits }, work)).outcome).toBe("timeout");
  });

  test.each([
    ["with many files", "n = 0\nwhile True:\n    n += 1\n    write('/host/%d' % n)\n"],
    [
      "with files without a name",
      "held = []\nwhile True:\n    held.append(write('/host/x'))\n    os.unlink('/host/x')\n",
    ],
    [
      "below the depth that is counted",
      "for _ in range(80):\n    os.mkdir('d')\n    os.chdir('d')\nwhile True: pass\n",
    ],
  ])("that fills the disk %s is ended at scratchMaxBytes", async (_, body) => {
    const work = workDir();
    const write =
      "import os\nos.chdir('/host')\ndef write(path):\n    file = open(path, 'wb')\n    file.write(bytes(1 << 20))\n    file.flush()\n    os.fsync(file.fileno())\n    return file\n";
    expect((await run(write + body, {}, work)).outcome).toBe("output_limit");
  });

  test("cannot make one file larger than scratchMaxBytes", async () => {
    const work = workDir();
    const program =
      "import errno, os\nfd = os.open('/host/x', os.O_WRONLY | os.O_CREAT)\ntry:\n    os.pwrite(fd, b'x', 33 << 20)\nexcept OSError as error:\n    print(errno.errorcode[error.errno])\n";
    expect((await run(program, {}, work)).stdout).toBe("EFBIG\n");
  });

  test("that makes a million files is ended", async () => {
    const work = workDir();
    // Names of files that have many are made faster than files.
    const program =
      "import os\nfor n in range(1000000):\n    if n % 10000 == 0:\n        os.mkdir('/host/%d' % n)\n        os.chdir('/host/%d' % n)\n        os.close(os.open('file', os.O_CREAT))\n    os.link('file', str(n))\nwhile True: pass\n";
    const limits = { ...LIMITS, runtimeMs: 110_000, scratchMaxBytes: 4096 * MIB };
    expect((await run(program, { limits }, work)).outcome).toBe("output_limit");
    const made = Bun.spawnSync(["sh", "-c", `find '${work}' | wc -l`]).stdout.toString();
    expect(Number(made)).toBeGreaterThan(COMMAND_ENTRIES_MAX);
    Bun.spawnSync(["rm", "-rf", work]);
  });

  test("that forks without end reaches processesMax, and none of them outlives it", async () => {
    const work = workDir();
    const program =
      "import errno, os, signal\nn = 0\nwhile True:\n    try:\n        pid = os.fork()\n    except OSError as error:\n        print(n, errno.errorcode[error.errno])\n        break\n    if pid == 0:\n        signal.pause()\n    n += 1\n";
    const { outcome, stdout } = await run(program, {}, work);
    expect(outcome).toBe("exited");
    const [count, errno] = stdout.trim().split(" ");
    expect(errno).toBe("EAGAIN");
    expect(Number(count)).toBeGreaterThan(LIMITS.processesMax / 2);
    expect(Number(count)).toBeLessThan(LIMITS.processesMax);
  });

  test("that is a fork bomb is ended with all of it", async () => {
    const work = workDir();
    const bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n";
    const limits = { ...LIMITS, runtimeMs: 1_000 };
    expect((await run(bomb, { limits }, work)).outcome).toBe("timeout");
  });

  test("that takes more memory than it may is ended for that", async () => {
    expect((await run("x = b'x' * (1 << 30)\n")).outcome).toBe("out_of_memory");
  });

  test("that prints without end is ended, and its last words are kept", async () => {
    const flood =
      "import os\nwhile True:\n    try: os.write(1, b'flood ' * 10000)\n    except OSError: pass\n";
    const { outcome, stdout } = await run(flood);
    expect(outcome).toBe("output_limit");
    expect(stdout.length).toBeLessThanOrEqual(COMMAND_OUTPUT_TAIL_BYTES);
    expect(stdout).toContain("flood flood");
  });

  test("leaves no daemon behind, which would write where the worker reads", async () => {
    const work = workDir();
    const program =
      "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True:\n            open('/host/tick', 'a').write('x')\n    os._exit(0)\nwhile not os.path.exists('/host/tick'): time.sleep(0.01)\n";
    expect(await run(program, {}, work)).toMatchObject({ outcome: "exited", exitCode: 0 });
    const { size } = statSync(join(work, "tick"));
    let looks = 0;
    await waitFor(() => ++looks > 5, "some time has passed");
    expect(statSync(join(work, "tick")).size).toBe(size);
  });

  test("finds nothing of the host, and can change nothing but its scratch space", async () => {
    const work = workDir();
    const places = [
      "/root",
      "/home",
      "/var",
      "/etc/shadow",
      "/sys",
      bench.clusterDir,
      join(bench.clusterDir, "config/template.json"),
      bench.workerDir,
      temp.path,
    ];
    const program = `
import errno, json, os
def tried(function, *given):
    try:
        function(*given)
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
make = lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
print(json.dumps({
    "there": [path for path in ${JSON.stringify(places)} if tried(os.stat, path) != "ENOENT"],
    "list": [tried(os.listdir, path) for path in ("/packages", "/packages/.staging", "/packages/.resolved")],
    "write": [tried(make, path + "/x") for path in ("", "/usr", "/etc", "/packages", "/run/install", "/dev", "/handler", "/proc/sys")],
    "scratch": [tried(make, path + "/x") for path in ("/host", "/tmp", "/dev/shm")],
    "device": tried(os.mknod, "/host/d", 0o20666, os.makedev(1, 1)),
    "root": [tried(os.setuid, 0), tried(os.chroot, "/host")],
    "owner": tried(os.chown, "/host/x", 0, 0),
}))
`;
    const { stdout } = await run(program, {}, work);
    expect(JSON.parse(stdout)).toEqual({
      there: [],
      list: ["EACCES", "EACCES", "EACCES"], // To be passed through, not to be listed.
      write: ["EROFS", "EROFS", "EROFS", "EROFS", "EROFS", "EROFS", "EROFS", "ENOENT"],
      scratch: ["ok", "ok", "ok"],
      device: "EPERM",
      root: ["EPERM", "EPERM"],
      owner: "EINVAL",
    });
  });

  describe("from outside", () => {
    let view: ProcessView;
    beforeAll(async () => {
      const work = workDir();
      const program =
        "import os, time\nopen('/host/here', 'w').close()\nwhile not os.path.exists('/host/go'): time.sleep(0.01)\n";
      const running = run(program, {}, work);
      await waitFor(() => readdirSync(work).includes("here"), "the command runs");
      const pids = processesOf(work);
      // The first is pid 1 of its namespace, which waits for the program.
      expect(pids).toHaveLength(2);
      view = viewProcess(Math.max(...pids));
      writeFileSync(join(work, "go"), "");
      expect(await running).toMatchObject({ outcome: "exited", exitCode: 0 });
      expect(view.uids).toEqual([0, 0, 0, 0].map(() => statSync(work).uid));
      expect(view.gids).toEqual([...view.uids]);
    });

    test("has no privilege and no way to one", () => {
      const { groups, capabilities, noNewPrivileges, seccomp, idMaps, umask, root } = view;
      const [uid = 0] = view.uids;
      expect({ groups, noNewPrivileges, seccomp, idMaps, umask, root }).toEqual({
        groups: "",
        noNewPrivileges: "1",
        seccomp: "2",
        idMaps: [`1000 ${uid} 1`, `1000 ${uid} 1`, "deny"],
        umask: "0022",
        root: "/",
      });
      expect(new Set(Object.values(capabilities))).toEqual(new Set(["0".repeat(16)]));
    });

    test("shares the network with the host, and no other namespace", () => {
      const own = (kind: string): string => readlinkSync(`/proc/self/ns/${kind}`);
      const shared = NAMESPACES.filter((kind) => own(kind) === view.namespaces[kind]);
      expect(shared).toEqual(["net", "time"]);
    });

    test("has the descriptors and limits of a sandbox", () => {
      expect(Object.keys(view.descriptors)).toEqual(["0", "1", "2"]);
      expect(view.limits).toMatchObject({
        "core file size": "1 1",
        "file size": `${LIMITS.scratchMaxBytes} ${LIMITS.scratchMaxBytes}`,
        "open files": "1024 1024",
        processes: `${LIMITS.processesMax + 8} ${LIMITS.processesMax + 8}`,
      });
      expect(view.environment).toEqual([]);
    });

    test("sees writable mounts only where it may write, and no set-uid program", () => {
      const writable = view.mounts.filter((line) => / rw/.test(line));
      const places = new Set(writable.map((line) => line.split(" ")[0]));
      expect(places).toEqual(new Set(["/proc", "/tmp", "/host", "/dev/shm", "/run"]));
      expect(view.mounts.filter((line) => !line.includes("nosuid"))).toEqual([]);
      expect(view.mounts.filter((line) => line.startsWith("/run/install"))).toEqual([
        "/run/install ro,nosuid,nodev",
      ]);
    });
  });

  test("is not over while its cgroup may hold processes, and the engine recovers", async () => {
    const work = workDir();
    const program =
      "import os, time\nopen('/host/here', 'w').close()\nwhile not os.path.exists('/host/go'): time.sleep(0.01)\n";
    const running = failureOf(run(program, {}, work));
    await waitFor(() => readdirSync(work).includes("here"), "the command runs");
    isRefusing = true;
    try {
      writeFileSync(join(work, "go"), "");
      expect(await running).toContain("processes of it may still run");
    } finally {
      isRefusing = false;
    }
    expect(await run("print(1)\n")).toMatchObject({ outcome: "exited", stdout: "1\n" });
  });

  test("refuses a mount that is not there, with nothing kept", async () => {
    const mounts = [{ source: temp.join("none"), target: "/handler", readOnly: true }];
    await expect(run("print(1)\n", { mounts })).rejects.toThrow("ENOENT");
    mkdirSync(temp.join("none"));
    expect((await run("print(1)\n", { mounts })).stdout).toBe("1\n");
  });
});
