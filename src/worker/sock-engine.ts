/** Puts the SOCK engine together from a worker's settings. */

import { readBaseManifest } from "../base/base.ts";
import { detectCgroups } from "../cgroup/host.ts";
import { OlError } from "../common/errors.ts";
import type { Logger } from "../common/log.ts";
import type { Config } from "../config/config.ts";
import { SockPool } from "../sandbox/sock/sock-pool.ts";
import type { Engine } from "./engine.ts";
import { holdFreeSlot, slotCgroupName } from "./engine-slot.ts";
import { reclaimDeadSlots } from "./reclaim.ts";

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new OlError(
    "host_unsupported",
    'Cannot start the sandbox engine "sock": the worker runs as an ordinary user, it needs root ' +
      "to make namespaces and cgroups; start it with sudo",
  );
}

/**
 * @param config the worker's settings
 * @param log the worker's log
 * @returns the engine, ready
 * @throws {OlError} host_unsupported, base_invalid, sandbox_create, worker_start
 */
export async function openSockEngine(config: Config, log: Logger): Promise<Engine> {
  requireRoot();
  const base = readBaseManifest(config.basePath);
  const removed = await reclaimDeadSlots();
  if (removed.length > 0)
    log.warn("removed what a dead worker left", { op: "worker.reclaim", removed });
  const slot = holdFreeSlot();
  const host = detectCgroups();
  log.info("engine", { op: "worker.engine", cgroups: host.describe(), slot: slot.index });
  const cgroupRoot = host.openRoot(slotCgroupName(slot.index));
  try {
    await cgroupRoot.reclaim();
    const pool = await SockPool.open({
      init: {
        root: base.root,
        binds: base.binds,
        python: base.python,
        packagesDir: config.packagesDir,
        network: config.network,
      },
      slot: slot.index,
      workerDir: config.workerDir,
      cgroupRoot,
      cgroupPoolSize: config.cgroupPoolSize,
      limits: config.limits,
      network: config.network,
      env: config.sandboxEnv,
      log,
      logFd: "inherit",
    });
    let closed: Promise<void> | null = null;
    const close = async (): Promise<void> => {
      await pool.close();
      await cgroupRoot.remove();
      slot.release();
    };
    return {
      pool,
      runner: pool,
      zygotes: pool,
      python: base.python,
      close: () => (closed ??= close()),
    };
  } catch (error) {
    await cgroupRoot.remove().catch(() => {});
    slot.release();
    throw error;
  }
}
