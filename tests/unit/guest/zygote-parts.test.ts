/** Parts of the fork server that need none of its rights: descriptors, messages, maps of ids. */

import { describe, expect } from "bun:test";
import * as fc from "fast-check";
import { runPython, testPython } from "./python.ts";

/** Most extents that the kernel takes in one map (user_namespaces(7)). */
const EXTENTS_MAX = 340;

/** Files that are written go into `written`, by path. */
const CATCH_FILES = `
import entry, io, json
written = {}
class File(io.StringIO):
    def __init__(self, path):
        super().__init__()
        self.path = path
    def __exit__(self, *_): written[self.path] = self.getvalue()
entry.open = lambda path, mode: File(path)
`;

describe("write_id_maps()", () => {
  testPython("maps every id to itself but for the own and those of ancestors", async () => {
    const program = `${CATCH_FILES}
found = []
for own, taken, ids in json.load(sys.stdin):
    entry.write_id_maps(7, own, taken, ids)
    found.append(written)
    written = {}
print(json.dumps(found))`;
    const small = fc
      .uniqueArray(fc.integer({ min: 1, max: 39 }), { minLength: 1, maxLength: 8 })
      .map(([own = 1, ...taken]) => [own, taken, 40] as const);
    const property = fc.asyncProperty(fc.array(small, { maxLength: 60 }), async (cases) => {
      const found = (await runPython(program, JSON.stringify(cases))) as Record<string, string>[];
      for (const [index, [own, taken, ids]] of cases.entries()) {
        const files = found[index] ?? {};
        expect(Object.keys(files).toSorted()).toEqual(["/proc/7/gid_map", "/proc/7/uid_map"]);
        expect(files["/proc/7/gid_map"]).toBe(files["/proc/7/uid_map"] as string);
        const extents = (files["/proc/7/uid_map"] as string)
          .split("\n")
          .map((line) => line.split(" ").map(Number) as [number, number, number]);
        expect(extents.length).toBeLessThanOrEqual(EXTENTS_MAX);
        const mapped = new Map<number, number>();
        for (const [inside, outside, count] of extents) {
          for (let at = 0; at < count; at++) {
            expect(mapped.has(inside + at)).toBe(false);
            mapped.set(inside + at, outside + at);
          }
        }
        const others = Array.from({ length: ids - 1 }, (_, id) => id + 1);
        const free = others.filter((id) => id !== own && !taken.includes(id));
        expect([...mapped]).toEqual([[0, own], ...free.map((id): [number, number] => [id, id])]);
      }
    });
    await fc.assert(property, { numRuns: 4 });
  });
});

describe("descriptors", () => {
  testPython("keep_only() moves descriptors in their order and closes all others", async () => {
    const program = `
import json, os, zygote
def file(text):
    fd = os.memfd_create(text)
    os.write(fd, text.encode())
    return fd
fds = [file(str(number)) for number in range(40)]
kept = zygote.keep_only([fds[39], fds[1], fds[0]])
texts = [os.pread(fd, 9, 0).decode() for fd in kept]
inherited = [os.get_inheritable(fd) for fd in kept]
print(json.dumps([kept, texts, inherited, sorted(map(int, os.listdir("/proc/self/fd")))[:-1]]))`;
    const wanted = [
      [3, 4, 5],
      ["39", "1", "0"],
      [false, false, false],
      [0, 1, 2, 3, 4, 5],
    ];
    expect(await runPython(program)).toEqual(wanted);
  });

  testPython("receive() gives a message with its descriptors, and nothing at the end", async () => {
    const program = `
import array, json, os, socket, zygote
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
read, write = os.pipe()
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [write, write]))
theirs.sendmsg([b"x" * 100_000], [rights])
theirs.send(b"plain")
data, fds = zygote.receive(ours)
for fd in fds: os.write(fd, b"!")
second = zygote.receive(ours)
theirs.close()
end = zygote.receive(ours)
inherited = [os.get_inheritable(fd) for fd in fds]
print(json.dumps([len(data), os.read(read, 9).decode(), inherited, second[0].decode(), second[1], len(end[0]), end[1]]))`;
    const wanted = [100_000, "!!", [false, false], "plain", [], 0, []];
    expect(await runPython(program)).toEqual(wanted);
  });
});

describe("warming up", () => {
  testPython(
    "rehearse(), rehearse_again() and warm_up() leave no trace but an empty environment",
    async () => {
      const program = `
import json, os, sys, handler
os.environ["LEFT"] = "over"
modules, path = set(sys.modules), list(sys.path)
handler.rehearse()
handler.rehearse_again()
handler.warm_up(False)
print(json.dumps([dict(os.environ), sorted(set(sys.modules) ^ modules), sys.path == path]))`;
      expect(await runPython(program)).toEqual([{}, [], true]);
    },
  );

  testPython("rehearse_again() leaves a child fewer pages of others to write to", async () => {
    const program = `
import gc, json, os, struct, sys, handler
def written(pages):
    """How many of these a child has for itself once it has used modules."""
    read, write = os.pipe()
    if os.fork() == 0:
        for name in functions:
            getattr(os, name)
        with open("/proc/self/pagemap", "rb") as file:
            entries = [struct.unpack("=Q", os.pread(file.fileno(), 8, page * 8))[0] for page in pages]
        os.write(write, b"%d" % sum(entry >> 63 and entry >> 56 & 1 for entry in entries))
        os._exit(0)
    os.wait()
    return int(os.read(read, 99))
functions = dir(os)
handler.rehearse()
# A package, with enough methods to take all places in the interpreter's cache of them.
names = [sys.intern("a_method_of_a_package_%d" % index) for index in range(20_000)]
package = type("Package", (), dict.fromkeys(names))
# Beside the first and the last of them lie other objects of their size.
names = names[1000:-1000]
for name in names:
    getattr(package, name)
pages = {id(name) >> 12 for name in names}
gc.collect()
gc.freeze()
before = written(pages)
handler.rehearse_again()
print(json.dumps([before, written(pages)]))`;
    const [before, after] = (await runPython(program)) as [number, number];
    expect(before).toBeGreaterThan(2);
    expect(after).toBe(0);
  });

  testPython("rehearse_again() does not mind what a package has changed", async () => {
    const program = `
import json, handler
handler.rehearse()
dumps = json.dumps
def broken(*_, **__): raise RuntimeError("not like this")
json.dumps = broken
handler.types.ModuleType = broken
handler.rehearse_again()
print(dumps("goes on"))`;
    expect(await runPython(program)).toBe("goes on");
  });

  testPython("warm_up() seeds numpy anew, where its zygote has imported it", async () => {
    const program = `
import json, sys, types, handler
seeds = []
numpy_random = types.ModuleType("numpy.random")
numpy_random.seed = lambda *seed: seeds.append(seed)
handler.rehearse()
handler.warm_up(True)
sys.modules["numpy.random"] = numpy_random
handler.warm_up(True)
print(json.dumps(seeds))`;
    expect(await runPython(program)).toEqual([[]]);
  });

  testPython("warm_up() leaves the first call of a child few pages to copy", async () => {
    const program = `
import gc, json, os, resource, handler
def faults(first):
    read, write = os.pipe()
    if os.fork() == 0:
        first()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        handler._rehearse_once(handler._rehearsed)
        os.write(write, b"%d" % (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
        os._exit(0)
    os.wait()
    return int(os.read(read, 99))
handler.rehearse()
gc.collect()
gc.freeze()
print(json.dumps([faults(lambda: None), faults(lambda: handler.warm_up(False))]))`;
    const [cold, warm] = (await runPython(program)) as [number, number];
    expect(cold).toBeGreaterThan(0);
    expect(warm).toBeLessThan(cold / 4);
  });
});

describe("what threading does after a fork", () => {
  const inChild = (before: string, inside: string): string => `
import json, os, threading, thread_hook
original = threading._after_fork.__code__
${before}
thread_hook.leave_out()
read, write = os.pipe()
if os.fork() == 0:
    left_out = threading._after_fork.__code__ is not original
    thread_hook.put_back()
    ${inside}
    os.write(write, json.dumps([left_out, result]).encode())
    os._exit(0)
os.wait()
print(os.read(read, 999).decode())`;

  const FORK_WITH_A_THREAD = `stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    pipe = os.pipe()
    if os.fork() == 0:
        os.write(pipe[1], b"%d" % threading.active_count())
        os._exit(0)
    os.wait()
    result = [threading.active_count(), int(os.read(pipe[0], 9))]
    stop.set()
    thread.join()`;

  testPython("is there for a fork of the child's own, with its threads", async () => {
    expect(await runPython(inChild("", FORK_WITH_A_THREAD))).toEqual([true, [2, 1]]);
  });

  testPython("stays left out in a child that forks on as a zygote", async () => {
    const inside = `thread_hook.become_zygote()
    pipe = os.pipe()
    if os.fork() == 0:
        os.write(pipe[1], b"%d" % (threading._after_fork.__code__ is original))
        os._exit(0)
    os.wait()
    result = int(os.read(pipe[0], 9))`;
    expect(await runPython(inChild("", inside))).toEqual([true, 0]);
  });

  testPython("is not left out where a zygote has other threads", async () => {
    const thread = `threading.Thread(target=threading.Event().wait, daemon=True).start()`;
    const inside = `result = threading.active_count()`;
    expect(await runPython(inChild(thread, inside))).toEqual([false, 1]);
  });
});

describe("set_limits()", () => {
  // Of a real process some cannot be told from what most hosts give anyway, such as a nice priority of 0.
  testPython("lowers everything that a process of its own could use up", async () => {
    const program = `
import json, resource, sandbox
kinds = {name for name in dir(resource) if name.startswith("RLIMIT_")} - {"RLIMIT_OFILE"}
names = {getattr(resource, name): name for name in kinds}
found = {}
resource.setrlimit = lambda kind, limits: found.update({names[kind]: limits})
sandbox.set_limits(1 << 20, 8)
print(json.dumps(found))`;
    expect(await runPython(program)).toEqual({
      RLIMIT_NOFILE: [1024, 1024],
      RLIMIT_FSIZE: [1 << 20, 1 << 20],
      RLIMIT_MEMLOCK: [65_536, 65_536],
      RLIMIT_MSGQUEUE: [0, 0],
      RLIMIT_SIGPENDING: [1024, 1024],
      RLIMIT_NPROC: [16, 16],
      RLIMIT_NICE: [0, 0],
      RLIMIT_RTPRIO: [0, 0],
    });
  });
});
