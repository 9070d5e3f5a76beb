/** A SOCK engine on a base of a test's choice, inside the test's own process. */

import { closeSync, mkdirSync, openSync } from "node:fs";
import { createBase, readBaseManifest } from "../../../src/base/base.ts";
import { detectCgroups } from "../../../src/cgroup/host.ts";
import { createLogger } from "../../../src/common/log.ts";
import type { SandboxPool } from "../../../src/sandbox/contract.ts";
import { SockPool } from "../../../src/sandbox/sock/sock-pool.ts";
import { holdFreeSlot, slotCgroupName } from "../../../src/worker/engine-slot.ts";
import { OL } from "../../helpers/ol.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { MIB } from "../contract/bench.ts";
import type { EngineUnderTest } from "../engine-contract.ts";

/** Which engine. */
export interface SockBenchOptions {
  /** `--base` of its cluster. */
  readonly base: string;
  /** Socket of the daemon for a `docker:` base. */
  readonly dockerSocket?: string;
  /** Whether sandboxes are forked from a zygote of the import cache; default: from the root. */
  readonly fromZygote?: boolean;
}

const ZYGOTE_ID = "contract";

/** With which spares are forked; the contract asks for others as well. */
const LIMITS = {
  memoryMaxBytes: 128 * MIB,
  processesMax: 32,
  cpuPercent: 100,
  runtimeMs: 20_000,
  scratchMaxBytes: 64 * MIB,
};

/** The engine, and what its log said when it started. */
export interface SockBench extends EngineUnderTest {
  /** Memory that each fork of its root zygote copies at once. */
  readonly pinnedBytes: number;
}

/**
 * @param options base, kind of sandbox
 * @returns an engine without sandboxes
 * @throws {Error} when the executable was not built, which is its init
 */
export async function startSockBench(options: SockBenchOptions): Promise<SockBench> {
  const temp = tempDir("ol-sock-");
  const workerDir = temp.join("workers/worker-0");
  const packagesDir = temp.join("packages");
  mkdirSync(workerDir, { recursive: true });
  mkdirSync(packagesDir, { mode: 0o755 });
  await createBase({
    spec: options.base,
    dir: temp.join("base"),
    ...(options.dockerSocket === undefined ? {} : { docker: { socket: options.dockerSocket } }),
  });
  const { root, binds, python } = readBaseManifest(temp.join("base"));
  const slot = holdFreeSlot();
  const cgroupRoot = detectCgroups().openRoot(slotCgroupName(slot.index));
  await cgroupRoot.reclaim();
  let said = "";
  const log = createLogger({ sink: { write: (line) => (said += line) } });
  const logFd = openSync(temp.join("zygote.log"), "a");
  const pool = await SockPool.open({
    init: { root, binds, python, packagesDir, network: "none" },
    slot: slot.index,
    workerDir,
    cgroupRoot,
    cgroupPoolSize: 4,
    limits: LIMITS,
    network: "none",
    log,
    logFd,
    executable: OL,
  });
  return {
    pinnedBytes: Number(/"pinned_bytes":(\d+)/.exec(said)?.[1]),
    pool: options.fromZygote === true ? await fromZygote(pool) : pool,
    handlersDir: `${workerDir}/handlers`,
    packagesDir,
    stop: async () => {
      await cgroupRoot.remove();
      slot.release();
      closeSync(logFd);
      temp.remove();
    },
  };
}

/** The same pool, whose sandboxes come from a zygote as those of lambdas with packages do. */
async function fromZygote(pool: SockPool): Promise<SandboxPool> {
  await pool.createZygote(null, { id: ZYGOTE_ID, packages: [], imports: ["decimal"] });
  return {
    create: async (spec) => {
      const sandbox = await pool.create({ ...spec, zygoteId: ZYGOTE_ID });
      if (sandbox.origin !== "zygote") throw new Error("The sandbox came from the root zygote");
      return sandbox;
    },
    get live() {
      return pool.live;
    },
    close: () => pool.close(),
  };
}
