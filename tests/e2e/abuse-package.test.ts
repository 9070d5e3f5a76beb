/**
 * Packages that attack from inside a zygote, where they are imported: what they reach, and that lambdas
 * which do not use them notice nothing. Installed from wheels that the test packs itself.
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePorts } from "../helpers/free-port.ts";
import { OL } from "../helpers/ol.ts";
import { PROJECT_DIR } from "../helpers/paths.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { processesBelow } from "../helpers/worker-processes.ts";

const PACK = join(PROJECT_DIR, "tests/fixtures/packages/wheel.py");
/** Module whose import tries to get out of the zygote; what came of it is in FOUND. */
const SPY = `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def tried(function, *arguments):
    try:
        function(*arguments)
        return "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
def c(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        return errno.errorcode[ctypes.get_errno()]
    return "ok"
def alive(pid):
    return tried(os.kill, pid, 0) != "ESRCH"
import builtins
builtins.spied = True
os.environ["SPIED"] = "yes"
FOUND = {
    "pid": os.getpid(),
    "others": [pid for pid in range(1, 70000) if pid != os.getpid() and alive(pid)],
    "shadow": tried(open, "/etc/shadow"),
    "trees": [tried(os.listdir, place) for place in ("/root", "/home", "/var")],
    "write": [tried(open, place + "/made", "w") for place in ("/", "/usr", "/etc", "/packages", "/dev")],
    "remount": [c("mount", None, place, None, 4096 | 32, None) for place in (b"/", b"/usr", b"/packages", b"/dev")],
    "umount": [c("umount2", place, 2) for place in (b"/usr", b"/packages", b"/dev", b"/proc")],
    "device": tried(os.mknod, "/tmp/device", 0o20666, os.makedev(1, 1)),
    "cgroup": tried(os.listdir, "/sys/fs/cgroup"),
    "sysctl": tried(os.open, "/proc/sys/kernel/core_pattern", os.O_WRONLY),
    "clock": c("clock_settime", 0, (ctypes.c_long * 2)(1, 0)),
    "module": c("syscall", 313, -1, b"", 0),
    "keys": c("syscall", 250, 0, -3, 0),
    "bpf": c("syscall", 321, 0, 0, 0),
    "uids": [os.getuid(), os.getgid()],
}
`;
/** An import that is slow enough for a zygote, and attacks there: a handler is never root of anything. */
const attack = (source: string): string => `
import os, sys, time
time.sleep(0.02)
if os.getuid() == 0:
${source}`;
/** Says what it likes to the worker: on every socket that it finds. */
const LIAR = attack(`
    for fd in range(3, 64):
        try:
            if os.readlink("/proc/self/fd/%d" % fd).startswith("socket:"):
                for words in (b'{"event": "ready", "id": 7}', b'{"event": "exit", "id": "x", "signal": -1}', b"{}", b"\\xff" * 64):
                    os.write(fd, words)
        except OSError:
            pass
`);
const CRASHER = attack(`
    os._exit(3)
`);
const HANG = attack(`
    while True: pass
`);

let temp: TempDir;
let worker: TestWorker;
const before = { links: process.env["PIP_FIND_LINKS"], index: process.env["PIP_NO_INDEX"] };

function pack(name: string, source: string): void {
  const packed = Bun.spawnSync(["/usr/bin/python3", PACK, temp.path, name], {
    stdin: Buffer.from(source),
  });
  if (!packed.success) throw new Error(packed.stderr.toString());
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

beforeAll(async () => {
  temp = tempDir("ol-wheels-");
  chmodSync(temp.path, 0o755); // The installer is nobody in particular.
  pack("olspy", SPY);
  pack("olliar", LIAR);
  pack("olcrasher", CRASHER);
  pack("olhang", HANG);
  // The worker hands the host's pip settings to its installer.
  process.env["PIP_FIND_LINKS"] = temp.path;
  process.env["PIP_NO_INDEX"] = "1";
  worker = await startWorker({ startup_pkgs: ["olspy==1.0"], network: "none" });
  worker.lambda(
    "plain",
    "import builtins, os\ndef handler(event):\n    return [hasattr(builtins, 'spied'), 'SPIED' in os.environ]\n",
  );
});
afterAll(async () => {
  restore("PIP_FIND_LINKS", before.links);
  restore("PIP_NO_INDEX", before.index);
  temp.remove();
  await worker.stop();
});

function user(name: string, packageName: string, body: string): void {
  worker.lambda(name, `import ${packageName}\ndef handler(event):\n    ${body}\n`, {
    "packages.txt": `${packageName}==1.0\n`,
  });
}

test("a package in a zygote sees no process, file or device that is not the zygote's", async () => {
  user("spies", "olspy", "return olspy.FOUND");
  const { text, headers, status } = await worker.call("spies");
  expect([status, headers.get("x-ol-start")]).toEqual([200, "zygote"]);
  expect(JSON.parse(text)).toEqual({
    pid: 1,
    others: [],
    shadow: "ENOENT",
    trees: ["ENOENT", "ENOENT", "ENOENT"],
    write: ["EROFS", "EROFS", "EROFS", "EROFS", "EROFS"],
    remount: ["EPERM", "EPERM", "EPERM", "EPERM"],
    umount: ["EPERM", "EPERM", "EPERM", "EPERM"],
    device: "EPERM",
    cgroup: "ENOENT",
    sysctl: "EACCES",
    clock: "EPERM",
    module: "EPERM",
    keys: "EPERM",
    bpf: "EPERM",
    uids: [0, 0],
  });
});

test("a lambda that does not use it is not touched by it", async () => {
  const { text, headers } = await worker.call("plain");
  expect([JSON.parse(text), headers.get("x-ol-start")]).toEqual([[false, false], "fresh"]);
});

/** What shows that the attack was made: the worker says that this zygote could not be made. */
async function expectRefusedZygote(name: string): Promise<void> {
  await waitFor(
    () =>
      worker
        .log()
        .split("\n")
        .some((line) => line.includes("cannot make a zygote") && line.includes(name)),
    `the zygote of ${name} is given up`,
  );
}

/** What shows it of one that never comes to an end: a zygote beside the root and the spy, at work. */
async function expectBusyZygote(): Promise<void> {
  await waitFor(
    () => processesBelow(worker.pid()).filter(({ role }) => role === "zygote").length > 2,
    "its zygote imports",
  );
}

test.each([
  ["olliar", expectRefusedZygote],
  ["olcrasher", expectRefusedZygote],
  ["olhang", expectBusyZygote],
] as const)(
  "a package that lies to the worker, ends or hangs in the zygote harms its users only: %s",
  async (name, expectAttack) => {
    user(`uses-${name}`, name, "return 'served'");
    expect((await worker.call(`uses-${name}`)).status).toBe(200);
    await expectAttack(name);
    const calls = await Promise.all(
      Array.from({ length: 8 }, async () => await worker.call(`uses-${name}`)),
    );
    for (const { status, text } of calls) expect([status, text]).toEqual([200, '"served"']);
    expect((await worker.call("plain")).status).toBe(200);
    expect((await worker.call("spies")).status).toBe(200);
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 0, "nothing is stuck");
  },
);

test("a worker whose startup package hangs ends when it is told to", async () => {
  const settings = JSON.parse(
    readFileSync(join(worker.cluster, "config/worker-0.json"), "utf8"),
  ) as Record<string, unknown>;
  const config = temp.join("hanging.json");
  const own = {
    worker_port: await freePorts(),
    worker_dir: temp.join("hanging"),
    startup_pkgs: ["olhang==1.0"],
  };
  writeFileSync(config, JSON.stringify({ ...settings, ...own }));
  const child = Bun.spawn([OL, "worker-exec", `--config=${config}`], {
    stdout: "ignore",
    stderr: "ignore",
    env: { ...process.env, NODE_ENV: undefined, CI: undefined },
  });
  try {
    await waitFor(
      () => processesBelow(child.pid).filter(({ role }) => role === "zygote").length === 2,
      "its zygote imports",
    );
    child.kill("SIGTERM");
    await waitFor(() => child.exitCode !== null, "it has ended");
    expect(child.exitCode).toBe(0);
  } finally {
    child.kill("SIGKILL");
  }
});
