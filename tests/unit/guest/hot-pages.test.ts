/** Which pages a child has written, and forks that copy them at once. */

import { describe, expect } from "bun:test";

import { requires } from "../../helpers/requires.ts";
import { runPython, testPython } from "./python.ts";

/**
 * `region` is memory of 256 pages that the parent has written, `written_in(pages)` what the guest finds of it when a
 * child has written these, `faults(pages)` what that costs the child, `parent_faults(pages)` the parent.
 */
const REGION = `
import ctypes, json, mmap, os, resource, hot_pages
PAGE, PAGES = mmap.PAGESIZE, 256
region = mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(region))
ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(PAGES * PAGE), 15)  # no huge pages
for page in range(PAGES):
    region[page * PAGE] = 1
def write(pages):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in pages:
        region[page * PAGE] = 2
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def with_child(pages, look):
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        write([])
        os.write(to_parent, b"%d" % write(pages))
        os.read(from_parent, 1)
        os._exit(0)
    count = int(os.read(from_child, 99))
    found = look(pid)
    os.write(to_child, b"1")
    os.waitpid(pid, 0)
    return count, found
def written_in(pages):
    inside = lambda run: start <= run[0] < start + PAGES * PAGE
    _, runs = with_child(pages, hot_pages.written_by)
    return [[(at - start) // PAGE, size // PAGE] for at, size in filter(inside, runs.anonymous)]
def faults(pages):
    return with_child(pages, lambda pid: None)[0]
def parent_faults(pages):
    return with_child([], lambda pid: write(pages))[1]
def runs(pages):
    found = hot_pages.Runs()
    found.anonymous = [(start + page * PAGE, PAGE) for page in pages]
    return found
`;

describe("written_by()", () => {
  testPython("finds runs of pages that the child has written, and no others", async () => {
    const program = `${REGION}
print(json.dumps([written_in([3, 4, 10]), written_in([]), written_in(range(8, PAGES - 8))]))`;
    expect(await runPython(program)).toEqual([
      [
        [3, 2],
        [10, 1],
      ],
      [],
      [[8, 240]],
    ]);
  });
});

describe("pin()", () => {
  const testRing = requires({ programs: ["python3"], ioUring: true });

  testRing("has every fork copy the pages: neither side faults on them any more", async () => {
    const program = `${REGION}
hot = list(range(0, PAGES, 2))
before = [faults(hot), parent_faults(hot)]
size, is_all = hot_pages.pin(runs(hot))
print(json.dumps([size // PAGE, before, [faults(hot), parent_faults(hot)], faults(range(PAGES)), is_all]))`;
    const [pages, before, after, all, isAll] = (await runPython(program)) as [
      number,
      [number, number],
      [number, number],
      number,
      boolean,
    ];
    expect([pages, isAll]).toEqual([128, true]);
    for (const count of before) expect(count).toBeGreaterThanOrEqual(128);
    // The interpreter itself faults some ten times, now and then.
    for (const count of after) expect(count).toBeLessThan(64);
    expect(all).toBeGreaterThanOrEqual(128);
  });

  testRing("keeps what each process writes to itself", async () => {
    const program = `${REGION}
hot_pages.pin(runs(range(PAGES)))
write(range(8))
def first(pid):
    with open("/proc/%d/mem" % pid, "rb") as memory:
        memory.seek(start)
        return memory.read(1)[0]
region[0] = 7
_, in_child = with_child([0], first)
print(json.dumps([in_child, region[0]]))`;
    expect(await runPython(program)).toEqual([2, 7]);
  });

  testRing("pins a part of what is too much to be copied each time, or not there", async () => {
    const program = `${REGION}
def pinned(start, size):
    wanted = hot_pages.Runs()
    wanted.anonymous = [(start, size)]
    return hot_pages.pin(wanted)
hot_pages._BYTES_MAX = 8 * PAGE
too_much = pinned(start, PAGES * PAGE)
hot_pages._BYTES_MAX = 1 << 20
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
read_only = libc.mmap(None, ctypes.c_size_t(4 * PAGE), 1, 0x22, -1, 0)
print(json.dumps([hot_pages.pin(runs([])), too_much, pinned(read_only, 4 * PAGE)]))`;
    const page = 4096;
    expect(await runPython(program)).toEqual([
      [0, true],
      [8 * page, false],
      [0, true],
    ]);
  });

  testPython("leaves out mappings of files where the kernel takes none", async () => {
    const program = `${REGION}
import errno, kernel
taken = []
def register(ring, buffers):
    if len(buffers) > 1:
        raise OSError(errno.EOPNOTSUPP, "io_uring_register")
    taken.extend((buffer.start, buffer.size) for buffer in buffers)
kernel.make_disabled_ring, kernel.register_buffers = lambda: os.open("/dev/null", 0), register
both = runs([1])
both.of_files = [(start + 4 * PAGE, PAGE)]
opened = len(os.listdir("/proc/self/fd"))
size, is_all = hot_pages.pin(both)
print(json.dumps([size // PAGE, is_all, taken == both.anonymous, len(os.listdir("/proc/self/fd")) - opened]))`;
    expect(await runPython(program)).toEqual([1, false, true, 1]);
  });

  testPython("says so where the host does not let it", async () => {
    const program = `${REGION}
import kernel
def refused(): raise PermissionError(1, "io_uring_setup")
kernel.make_disabled_ring = refused
try:
    print(json.dumps(hot_pages.pin(runs([1]))))
except OSError as error:
    print(json.dumps(error.errno))`;
    expect(await runPython(program)).toBe(1);
  });
});
