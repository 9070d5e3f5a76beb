/**
 * Processes that are compared with others rather than with a table of their own: a handler forked from an
 * import-cache zygote, which may differ from a fresh one in nothing that matters, and an installer.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Sandbox } from "../../src/sandbox/contract.ts";
import { EngineBench } from "../fault/engine-bench.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";
import { processesBelow } from "../helpers/worker-processes.ts";
import { NAMESPACES, type ProcessView, viewProcess } from "./process-view.ts";

setDefaultTimeout(scaled(60_000));

const MIB = 1024 * 1024;
const LIMITS = {
  memoryMaxBytes: 64 * MIB,
  processesMax: 16,
  cpuPercent: 100,
  runtimeMs: 20_000,
  scratchMaxBytes: 32 * MIB,
};

const OWN_NAMESPACES = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

/** Views of the processes below this one for which something is true, or null where one is just ending. */
function viewsOf(isWanted: (view: ProcessView) => boolean): readonly ProcessView[] | null {
  try {
    return processesBelow(process.pid)
      .map(({ pid }) => viewProcess(pid))
      .filter((view) => isWanted(view));
  } catch {
    return null;
  }
}

function apart(a: ProcessView, b: ProcessView): string[] {
  return NAMESPACES.filter((kind) => a.namespaces[kind] !== b.namespaces[kind]);
}

function apartFromHost(view: ProcessView): string[] {
  return NAMESPACES.filter(
    (kind) => readlinkSync(`/proc/self/ns/${kind}`) !== view.namespaces[kind],
  );
}

/** What must not differ between two sandboxes; each mount once, because a zygote's own lie below. */
function comparable(view: ProcessView): object {
  const { pid: _pid, uids, gids, namespaces: _namespaces, cgroups: _cgroups, ...rest } = view;
  const [uid = 0] = uids;
  return {
    ...rest,
    uids: uids.map((id) => id - uid),
    gids: gids.map((id) => id - uid),
    idMaps: rest.idMaps.map((line) => line.replace(String(uid), "own")),
    mounts: [...new Set(rest.mounts)].toSorted(),
  };
}

describe("a handler forked from an import-cache zygote", () => {
  const sandboxes: Sandbox[] = [];
  let fresh: ProcessView;
  let forked: readonly ProcessView[];

  beforeAll(async () => {
    await bench.pool.createZygote(null, { id: "p-1", packages: [], imports: ["decimal"] });
    await bench.pool.createZygote("p-1", { id: "p-2", packages: [], imports: ["sqlite3"] });
    const codeDir = join(bench.clusterDir, "pid");
    mkdirSync(codeDir);
    writeFileSync(join(codeDir, "lambda_func.py"), "def handler(event):\n    return event\n");
    const views: ProcessView[] = [];
    for (const [index, zygoteId] of [null, "p-1", "p-2"].entries()) {
      const lambdaName = `posture-${index}`;
      const sandbox = await bench.create({ codeDir, codeId: lambdaName, lambdaName, zygoteId });
      sandboxes.push(sandbox);
      expect(sandbox.origin).toBe(zygoteId === null ? "fresh" : "zygote");
      await bench.call(sandbox);
      const own = await waitFor(() => {
        const found = viewsOf(({ descriptors }) => descriptors["1"] === "stdout");
        return found?.find(({ pid }) => !views.some((known) => known.pid === pid));
      }, "its process is there");
      views.push(own);
    }
    const [first, ...others] = views;
    if (first === undefined) throw new Error("there is no fresh handler");
    fresh = first;
    forked = others;
  });
  afterAll(async () => {
    await Promise.all(sandboxes.map((sandbox) => sandbox.destroy()));
    await bench.pool.destroyZygote("p-2");
    await bench.pool.destroyZygote("p-1");
  });

  test.each([0, 1])("looks from outside like a fresh one, at depth %d", (index) => {
    const view = forked[index] as ProcessView;
    // One filter of the zygote's lies below its own two.
    expect(comparable(view)).toEqual(comparable(fresh));
    expect(apart(view, fresh)).toEqual(OWN_NAMESPACES);
    expect(view.uids[0]).not.toBe(fresh.uids[0] ?? 0);
  });

  test("shares no namespace and no id with its zygotes", async () => {
    const zygotes = await waitFor(() => {
      const found = viewsOf(({ name }) => name === "ol-zygote");
      return found !== null && found.length >= 3 ? found : null;
    }, "three zygotes are there");
    for (const view of forked) {
      for (const zygote of zygotes) {
        expect(apart(view, zygote)).toEqual(OWN_NAMESPACES);
        expect(zygote.uids[0]).not.toBe(view.uids[0] ?? 0);
      }
    }
  });
});

test("an installer is as closed as a handler, but for the network and its directories", async () => {
  const result = bench.pool.run({
    argv: ["/usr/bin/python3", "-I", "-c", "import time; time.sleep(600)"],
    env: { PATH: "/usr/bin", SECRET: "of the proxy" },
    mounts: [{ source: bench.codeDir, target: "/handler", readOnly: true }],
    limits: { ...LIMITS, runtimeMs: 2_000 },
    files: {},
  });
  const program = await waitFor(() => {
    const found = viewsOf(({ environment }) => environment.some((it) => it.startsWith("SECRET=")));
    // While it starts, the interpreter has files of its own open.
    return found?.find(({ descriptors }) => Object.keys(descriptors).length === 3);
  }, "the program runs, with its three streams");
  const first = await waitFor(() => {
    const found = viewsOf(({ name }) => name === "ol-installer");
    return found?.find(({ namespaces }) => namespaces["pid"] === program.namespaces["pid"]);
  }, "its first process is there");
  for (const view of [first, program]) {
    const [uid = 0] = view.uids;
    expect(view).toMatchObject({
      uids: [uid, uid, uid, uid],
      gids: [uid, uid, uid, uid],
      groups: "",
      noNewPrivileges: "1",
      seccomp: "2",
      umask: "0022",
      oomScoreAdjustment: "500",
      root: "/",
      cwd: "/tmp",
      idMaps: [`1000 ${uid} 1`, `1000 ${uid} 1`, "deny"],
    });
    expect(new Set(Object.values(view.capabilities))).toEqual(new Set(["0000000000000000"]));
    expect(apartFromHost(view)).toEqual(OWN_NAMESPACES.filter((kind) => kind !== "net"));
    expect(view.limits["core file size"]).toBe("1 1");
    expect(view.mounts).toContain("/run/install ro,nosuid,nodev");
    expect(
      view.mounts.filter((mount) => mount.includes(" rw") && !mount.includes("nosuid,nodev")),
    ).toEqual([]);
  }
  expect(first.uids).toEqual(program.uids);
  expect(Object.keys(program.descriptors)).toEqual(["0", "1", "2"]);
  expect(first.descriptors).toEqual({ ...program.descriptors, "3": "socket" });
  expect((await result).outcome).toBe("timeout");
});
