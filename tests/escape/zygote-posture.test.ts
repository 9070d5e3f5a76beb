/**
 * An import-cache zygote as it looks from outside once it has imported, compared with the exact expected
 * table: root of nothing but its own namespaces, and nothing of anybody else in its hands.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { EngineBench } from "../fault/engine-bench.ts";
import { addPackage } from "../fault/package-fixtures.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { cgroupsOf, processesBelow } from "../helpers/worker-processes.ts";
import { NAMESPACES, type ProcessView, viewProcess } from "./process-view.ts";

const UIDS_PER_WORKER = 65_536;
const NONE = "0000000000000000";
const STREAMS = { "0": "/dev/null", "1": "/dev/null", "2": "/dev/null" };

/** Pins pages and is off; the filter of the first keeps further ones from having their own. */
const RING = "anon_inode:[io_uring]";

let bench: EngineBench;
/** The root zygote, one forked from it, one forked from that. */
let views: readonly ProcessView[];

/** Zygotes with nothing on its way to them: what they were sent for a spare they have closed again. */
function quietZygotes(count: number): readonly ProcessView[] | null {
  try {
    const all = processesBelow(process.pid);
    const found = all.filter(({ role }) => role === "zygote").map(({ pid }) => viewProcess(pid));
    const isQuiet = found.every(
      ({ pid, descriptors }) =>
        all.some(({ role, parent }) => role === "spare" && parent === pid) &&
        !Object.values(descriptors).some((target) => target.endsWith("procs")),
    );
    return found.length === count && isQuiet ? found : null;
  } catch {
    return null; // One ended while it was read.
  }
}

beforeAll(async () => {
  bench = await EngineBench.open();
  await bench.pool.createZygote(null, { id: "z-1", packages: [], imports: ["decimal"] });
  await bench.pool.createZygote("z-1", { id: "z-2", packages: [], imports: ["sqlite3"] });
  views = await waitFor(() => quietZygotes(3), "three zygotes are at rest");
});
afterAll(() => bench.close());

function view(index: number): ProcessView {
  const found = views[index];
  if (found === undefined) throw new Error(`there is no zygote ${index}`);
  return found;
}

function apart(a: ProcessView, b: ProcessView): string[] {
  return NAMESPACES.filter((kind) => a.namespaces[kind] !== b.namespaces[kind]);
}

/** Host ids that a user namespace maps, as [first, last]. */
function hostRanges(zygote: ProcessView): [number, number][] {
  const numbers = (zygote.idMaps[0] ?? "").split(" ").map(Number);
  const ranges: [number, number][] = [];
  for (let at = 0; at < numbers.length; at += 3) {
    const [start = 0, length = 0] = numbers.slice(at + 1, at + 3);
    ranges.push([start, start + length - 1]);
  }
  return ranges;
}

describe.each([1, 2])("an import-cache zygote at depth %d", (depth) => {
  test("is bound by a filter, may gain nothing, and has an id that nobody else has", () => {
    const { name, uids, gids, groups, noNewPrivileges, seccomp, umask, root, cwd } = view(depth);
    const [uid = 0] = uids;
    expect({ name, uids, gids, groups, noNewPrivileges, seccomp, umask, root, cwd }).toEqual({
      name: "ol-zygote",
      uids: [uid, uid, uid, uid],
      gids: [uid, uid, uid, uid],
      groups: "",
      noNewPrivileges: "1",
      seccomp: "2",
      umask: "0022",
      root: "/",
      cwd: "/",
    });
    const first = view(0).uids[0] ?? 0;
    expect(uid).toBeGreaterThan(first);
    expect(uid).toBeLessThan(first + UIDS_PER_WORKER);
    expect(new Set(views.map(({ uids: [own] }) => own)).size).toBe(3);
  });

  test("is root of its own user namespace only, which maps no id of its ancestors", () => {
    const { capabilities } = view(depth);
    expect(capabilities["CapEff"]).toMatch(/^0*1f*$|^0*[37]?f+$/);
    expect([capabilities["CapInh"], capabilities["CapAmb"]]).toEqual([NONE, NONE]);
    const own = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    const isOwn = (kind: string): boolean =>
      readlinkSync(`/proc/self/ns/${kind}`) !== view(depth).namespaces[kind];
    expect(NAMESPACES.filter(isOwn)).toEqual(own as (typeof NAMESPACES)[number][]);
    for (const [other, each] of views.entries()) {
      if (other === depth) continue;
      expect(apart(view(depth), each)).toEqual(own);
    }
    for (const ancestor of views.slice(0, depth)) {
      const id = ancestor.uids[0] ?? -1;
      const isMapped = hostRanges(view(depth)).some(([from, to]) => from <= id && id <= to);
      expect(isMapped).toBe(false);
    }
  });

  test("holds its socket, its pid namespace, its wake-up pipe and empty networks", () => {
    const entries = Object.entries(view(depth).descriptors);
    expect(Object.fromEntries(entries.filter(([, target]) => target !== "net"))).toEqual({
      ...STREAMS,
      "3": "socket",
      "4": "pid",
      ...(depth === 1 ? { "5": RING, "6": "pipe", "7": "pipe" } : { "5": "pipe", "6": "pipe" }),
    });
    expect(entries.some(([, target]) => target === "net")).toBe(true);
  });

  test("writes nowhere but to its scratch space, and dumps no core", () => {
    const writable = view(depth).mounts.filter((mount) => mount.includes(" rw"));
    const places = writable.map((mount) => mount.split(" ")[0] ?? "");
    expect([...new Set(places)].toSorted()).toEqual(["/dev/shm", "/host", "/proc", "/tmp"]);
    expect(writable.every((mount) => mount.includes("nosuid,nodev"))).toBe(true);
    expect(view(depth).limits["core file size"]).toBe("1 1");
    expect(view(depth).limits["locked memory"]).toBe("65536 65536");
  });

  test("is in a cgroup of its own", async () => {
    const own = cgroupsOf(view(depth).pid);
    // A child that was just forked is on its way to a cgroup of its own.
    await waitFor(() => {
      const members = processesBelow(process.pid).filter(({ pid }) => cgroupsOf(pid) === own);
      const roles = members.map(({ role }) => role).toSorted();
      return roles.join() === "zygote";
    }, "its cgroup holds zygote");
  });
});

/** What the kernel says of a zygote while it imports a package, kept in a variable of that package. */
const WATCHING = `
import os, resource
def field(name):
    with open("/proc/self/status") as status:
        return [line.split()[1:] for line in status if line.startswith(name + ":")]
SEEN = [field("Seccomp"), field("NoNewPrivs"), resource.getrlimit(resource.RLIMIT_MEMLOCK),
        os.getpid(), os.getuid()]
`;

test("a package that is imported in a zygote runs with the filter and the limits in place", async () => {
  const dir = addPackage(bench, "olwatching", WATCHING);
  await bench.pool.createZygote(null, { id: "z-3", packages: [dir], imports: ["olwatching"] });
  const codeDir = join(bench.clusterDir, "watching");
  mkdirSync(codeDir);
  const code = "import olwatching\ndef handler(event):\n    return olwatching.SEEN\n";
  writeFileSync(join(codeDir, "lambda_func.py"), code);
  const sandbox = await bench.create({
    codeDir,
    codeId: "watching",
    packages: [dir],
    zygoteId: "z-3",
  });
  expect(sandbox.origin).toBe("zygote");
  const { body } = await sandbox.call(Buffer.from("null"), 10_000);
  expect(JSON.parse(Buffer.from(body).toString())).toEqual([
    [["2"]],
    [["1"]],
    [65_536, 65_536],
    1,
    0,
  ]);
  await sandbox.destroy();
  await bench.pool.destroyZygote("z-3");
});
