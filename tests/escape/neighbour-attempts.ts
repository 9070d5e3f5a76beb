/** Rows of what one lambda leaves behind for another, and what it can make the worker touch: nothing. */

import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { printed, type TestWorker } from "../helpers/worker.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { inside, outside, PRELUDE, type Scenario } from "./attempts.ts";

/** What the rows are made of. */
export interface NeighboursContext {
  readonly worker: TestWorker;
  /** A directory of the host. */
  readonly dir: string;
}

const LEAVE = `
import builtins, random, threading, time
for place in ("/tmp/left", "/host/left", "/dev/shm/left", "/var/tmp/left"):
    tried(lambda: open(place, "w").close())
os.environ["LEFT"] = "left"
builtins.left = True
sys.modules["left"] = sys
sys.path.append("/left")
json.dumps = None
random.seed(1)
os.umask(0)
os.chdir("/tmp")
memory = c("shmget", 0x1234, 4096, 0o1666)
queue = c("mq_open", b"/left", 0o100 | 2, 0o666, None)
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0left")
builtins.listener = listener
json.dumps = lambda *_, **__: '"left"'
return 1`;

const LOOK = `
import builtins, random, threading
places = [place for place in ("/tmp", "/dev/shm") if os.listdir(place)]
return [
    places, sorted(os.listdir("/host")), "LEFT" in os.environ, hasattr(builtins, "left"),
    "left" in sys.modules, "/left" in sys.path, os.umask(0), os.getcwd(),
    c("shmget", 0x1234, 4096, 0), open("/proc/sysvipc/shm").read().count("\\n"),
    threading.active_count(), tried(socket.socket(socket.AF_UNIX).connect, "\\0left"),
]`;
const CLEAN = [
  [],
  ["stderr", "stdout"],
  false,
  false,
  false,
  false,
  0o022,
  "/host",
  "ENOENT",
  1,
  1,
  "ECONNREFUSED",
];

const RANDOM = `
import random, uuid, secrets, tempfile
return [random.random(), random.getrandbits(64), str(uuid.uuid4()), secrets.token_hex(8),
        os.urandom(8).hex(), hash("x") if sys.flags.hash_randomization else 0,
        next(tempfile._get_candidate_names())]`;

/** Puts something else where its output and scratch space seem to be. */
const SWAPS: readonly (readonly [string, string])[] = [
  ["a symlink to a file of the host", "os.symlink(canary, path)"],
  ["a symlink to itself", "os.symlink(path, path)"],
  ["a FIFO", "os.mkfifo(path)"],
  ["a socket", "socket.socket(socket.AF_UNIX).bind(path)"],
  ["a directory full of links", "os.mkdir(path); os.symlink('/', path + '/root')"],
  ["nothing, with its own descriptors redirected", "os.dup2(os.open('/dev/null', os.O_WRONLY), 9)"],
];

const PLACES = ["/host/stdout", "/host/stderr", "/host/lambda_func.py", "/tmp/left"];

/** What comes of removing what is at each place, and of the swap. */
const ALL_SWAPPED = PLACES.map(() => ["ok", "ok"]);

const swapRow = ([label, swap]: (typeof SWAPS)[number]): Scenario<NeighboursContext> => ({
  row: `scratch paths: ${label} changes nothing for the worker`,
  expected: ALL_SWAPPED,
  run: async ({ worker, dir }, expected) => {
    const canary = join(dir, "canary");
    writeFileSync(canary, "untouched");
    const name = `swaps-${label.replaceAll(/[^a-z]+/g, "-")}`;
    const code = `
${PRELUDE}
def swap(path, canary):
    ${swap}
def handler(canary):
    print("before")
    found = []
    for path in ${JSON.stringify(PLACES)}:
        removed = tried(os.unlink, path) if os.path.lexists(path) else "ok"
        found.append([removed, tried(swap, path, canary)])
    print("after")
    return found
`;
    worker.lambda(name, code);
    const { status, text } = await worker.call(name, canary);
    expect([status, JSON.parse(text)]).toEqual([200, expected]);
    expect(printed(worker, name, "stdout")).toBe("before\nafter\n");
    // A new version ends the instance, and cleans up what it left.
    worker.lambda(name, "def handler(event):\n    return 2\n");
    await waitFor(async () => (await worker.call(name)).text === "2", "the new version answers");
    expect(readFileSync(canary, "utf8")).toBe("untouched");
    expect(printed(worker, name, "stdout")).toStartWith("before\nafter\n");
  },
});

const TAKE_LOG = `
import fcntl
print("kept")
sys.stdout.flush()
results = [
    opened("/proc/self/fd/1", os.O_WRONLY), opened("/host/stdout", os.O_RDWR),
    tried(os.fchmod, 1, 0o777), tried(os.fchown, 1, 1000, 1000),
    tried(fcntl.fcntl, 1, 1024, fcntl.F_WRLCK),
    tried(os.setxattr, "/proc/self/fd/1", "user.x", b"x"),
]
return results`;

/** All of them. */
export const NEIGHBOURS: readonly Scenario<NeighboursContext>[] = [
  {
    row: "state of one lambda: files, environment, modules, memory, threads, sockets are not another's",
    expected: CLEAN,
    run: async ({ worker }, expected) => {
      expect(await inside(worker, LOOK)).toEqual(expected);
      expect(await inside(worker, LEAVE)).toBe("left");
      expect(await inside(worker, LOOK)).toEqual(expected);
    },
  },
  {
    row: "random state: no two sandboxes draw the same",
    run: async ({ worker }) => {
      const draws: (readonly unknown[])[] = [];
      for (let turn = 0; turn < 6; turn++)
        draws.push((await inside(worker, RANDOM)) as readonly unknown[]);
      for (const column of [0, 1, 2, 3, 4, 6]) {
        const values = draws.map((draw) => draw[column]);
        expect(new Set(values).size).toBe(values.length);
      }
      expect(outside(RANDOM)).toHaveLength(7);
    },
  },
  ...SWAPS.map(swapRow),
  {
    row: "its log: cannot be opened again for writing, locked out, or taken over",
    expected: ["EACCES", "EACCES", "EPERM", "EPERM", "EACCES", "EACCES"],
    run: async ({ worker }, expected) => {
      expect(await inside(worker, TAKE_LOG)).toEqual(expected);
    },
  },
];
