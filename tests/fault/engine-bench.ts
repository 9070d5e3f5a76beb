/** The SOCK engine inside the test's own process, so that its system calls can be made to fail. */

import { closeSync, mkdirSync, openSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";

import { readBaseManifest } from "../../src/base/base.ts";
import type { CgroupRoot } from "../../src/cgroup/contract.ts";
import { detectCgroups } from "../../src/cgroup/host.ts";
import { type CgroupIo, systemCgroupIo } from "../../src/cgroup/io.ts";
import { silentLogger } from "../../src/common/log.ts";
import type { Sandbox, SandboxLimits, SandboxSpec } from "../../src/sandbox/contract.ts";
import { SockPool } from "../../src/sandbox/sock/sock-pool.ts";
import { holdFreeSlot, slotCgroupName } from "../../src/worker/engine-slot.ts";
import { OL, olDone } from "../helpers/ol.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { processesBelow } from "../helpers/worker-processes.ts";

const MIB = 1024 * 1024;

const LIMITS: SandboxLimits = {
  memoryMaxBytes: 64 * MIB,
  processesMax: 32,
  cpuPercent: 100,
  runtimeMs: 10_000,
  scratchMaxBytes: 32 * MIB,
};

/** What the suites that look into an installer give it. */
export const INSTALLER_LIMITS: SandboxLimits = {
  memoryMaxBytes: 128 * MIB,
  processesMax: 16,
  cpuPercent: 100,
  runtimeMs: 20_000,
  scratchMaxBytes: 32 * MIB,
};

const CODE = "def handler(event):\n    print(event)\n    return event\n";

/** Cgroups that the engine keeps ready. */
const CGROUP_STOCK = 4;

/** Files of instances' output that may be open ahead of need. */
const OUTPUT_STOCK = 64;

/** What there is of an engine. */
interface Rest {
  readonly exact: {
    /** Sandboxes. */
    readonly live: number;
    readonly processes: number;
    readonly sockets: number;
    /** Descriptors of neither cgroup files nor outputs nor sockets. */
    readonly others: number;
  };
  /** Cgroups beyond those of guests and of the root zygote: stock. */
  readonly spareCgroups: number;
  readonly cgroupFiles: number;
  readonly outputs: number;
}

/** A spare that could not be made is made with the next call; each has one process and one socket. */
function isNoMore(now: Rest["exact"], rest: Rest["exact"]): boolean {
  return (
    now.live === rest.live &&
    now.others === rest.others &&
    now.processes <= rest.processes &&
    rest.processes - now.processes === rest.sockets - now.sockets
  );
}

function descriptors(): { sockets: number; cgroupFiles: number; outputs: number; others: number } {
  const found = { sockets: 0, cgroupFiles: 0, outputs: 0, others: 0 };
  for (const fd of readdirSync("/proc/self/fd")) {
    const target = linkOf(fd);
    if (target === null) continue;
    if (target.startsWith("socket:")) found.sockets += 1;
    else if (target.startsWith("/sys/fs/cgroup/")) found.cgroupFiles += 1;
    else if (/\/(handlers|output-stock)\//.test(target)) found.outputs += 1;
    else found.others += 1;
  }
  return found;
}

function linkOf(fd: string): string | null {
  try {
    const target = readlinkSync(`/proc/self/fd/${fd}`);
    return target.startsWith("/proc/") ? null : target;
  } catch {
    return null;
  }
}

/** What an engine can have that ordinary ones do not. */
export interface EngineBenchOptions {
  /** The cgroup file system, perhaps one that fails. */
  readonly io?: CgroupIo;
  /** Settings of all lambdas. */
  readonly env?: Readonly<Record<string, string>>;
  /** What is started as init. */
  readonly executable?: string;
}

/** An engine and one lambda. */
export class EngineBench {
  readonly pool: SockPool;
  readonly cgroupRoot: CgroupRoot;
  readonly workerDir: string;
  readonly codeDir: string;
  readonly clusterDir: string;
  /** What init and the zygotes say. */
  readonly zygoteLog: string;
  readonly #close: () => Promise<void>;
  #calls = 0;

  private constructor(
    temp: TempDir,
    own: { pool: SockPool; cgroupRoot: CgroupRoot; close: () => Promise<void> },
  ) {
    this.pool = own.pool;
    this.cgroupRoot = own.cgroupRoot;
    this.#close = own.close;
    this.clusterDir = temp.join("cluster");
    this.workerDir = temp.join("cluster/workers/worker-0");
    this.codeDir = temp.join("code");
    this.zygoteLog = temp.join("zygote.log");
  }

  /**
   * @param options what differs from an ordinary engine
   * @returns an engine that is ready
   */
  static async open(options: EngineBenchOptions = {}): Promise<EngineBench> {
    const { io = systemCgroupIo, env = {}, executable = OL } = options;
    const temp = tempDir("ol-engine-");
    await olDone(["new", `--cluster=${temp.join("cluster")}`]);
    mkdirSync(temp.join("code"));
    writeFileSync(temp.join("code/lambda_func.py"), CODE);
    const base = readBaseManifest(temp.join("cluster/base"));
    const workerDir = temp.join("cluster/workers/worker-0");
    mkdirSync(workerDir, { recursive: true });
    const slot = holdFreeSlot();
    const cgroupRoot = detectCgroups(io).openRoot(slotCgroupName(slot.index));
    await cgroupRoot.reclaim();
    const log = openSync(temp.join("zygote.log"), "a");
    const pool = await SockPool.open({
      init: {
        root: base.root,
        binds: base.binds,
        python: base.python,
        packagesDir: temp.join("cluster/packages"),
        network: "none",
      },
      slot: slot.index,
      workerDir,
      cgroupRoot,
      cgroupPoolSize: CGROUP_STOCK,
      limits: LIMITS,
      network: "none",
      env,
      log: silentLogger,
      logFd: log,
      executable,
    });
    const close = async (): Promise<void> => {
      await pool.close();
      await cgroupRoot.remove();
      slot.release();
      closeSync(log);
      temp.remove();
    };
    return new EngineBench(temp, { pool, cgroupRoot, close });
  }

  /** @returns a sandbox with the lambda */
  create(more: Partial<SandboxSpec> = {}): Promise<Sandbox> {
    return this.pool.create({
      lambdaName: "nonce",
      codeDir: this.codeDir,
      codeId: "nonce-1",
      packages: [],
      zygoteId: null,
      limits: LIMITS,
      network: "none",
      env: {},
      concurrency: 1,
      ...more,
    });
  }

  /**
   * Calls a sandbox and checks whose answer comes.
   * @throws {OlError} where the call fails
   */
  async call(sandbox: Sandbox): Promise<void> {
    this.#calls += 1;
    const nonce = this.#calls;
    const { body } = await sandbox.call(Buffer.from(String(nonce)), LIMITS.runtimeMs);
    const got = Buffer.from(body).toString();
    if (got !== String(nonce)) throw new Error(`answer ${got} went to call ${nonce}`);
  }

  /** A whole life: made, called, paused, called again, destroyed. */
  async cycle(more: Partial<SandboxSpec> = {}): Promise<void> {
    const sandbox = await this.create(more);
    try {
      await this.call(sandbox);
      sandbox.pause();
      sandbox.unpause();
      await this.call(sandbox);
    } finally {
      await sandbox.destroy();
    }
  }

  /** @returns what there is of it now */
  now(): Rest {
    const cgroups = this.cgroupRoot.paths.map(
      (path) => readdirSync(path, { withFileTypes: true }).filter((it) => it.isDirectory()).length,
    );
    const processes = processesBelow(process.pid).length;
    const { sockets, others, cgroupFiles, outputs } = descriptors();
    return {
      exact: { live: this.pool.live, processes, sockets, others },
      // The root zygote has two processes and one cgroup, a guest has one of each.
      spareCgroups: Math.max(...cgroups) - (processes - 1),
      cgroupFiles,
      outputs,
    };
  }

  /** Runs some cycles and says what there is then, with every stock full. */
  async atRest(): Promise<Rest> {
    for (let index = 0; index < 10; index++) await this.cycle();
    let last = "";
    let same = 0;
    await waitFor(() => {
      const now = JSON.stringify(this.now());
      same = now === last ? same + 1 : 0;
      last = now;
      return same > 10;
    }, "the engine is at rest");
    return this.now();
  }

  /** Waits until there is no more of it than at rest. */
  async expectAtRest(rest: Rest): Promise<void> {
    const filesPerCgroup = this.cgroupRoot.paths.length + 2;
    let now = rest;
    try {
      await waitFor(() => {
        now = this.now();
        return (
          isNoMore(now.exact, rest.exact) &&
          now.spareCgroups <= CGROUP_STOCK &&
          now.cgroupFiles <= CGROUP_STOCK * filesPerCgroup + now.exact.processes &&
          now.outputs <= OUTPUT_STOCK
        );
      }, "the engine is as it was before");
    } catch (cause) {
      const shown = `${JSON.stringify(now)}, at rest it had ${JSON.stringify(rest)}`;
      throw new Error(`The engine has ${shown}`, { cause });
    }
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await this.#close();
  }
}
